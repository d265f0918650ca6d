"""The full grid's regret on planted tables: the plain one is biased up, the crossed one is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.allocation.recorded import read_grid
from bench.demo.grid import crossed_regret, write_world

PROMPTS = [f"p{i}" for i in range(12)]


def test_equal_cells_have_no_crossed_regret_and_a_plain_one() -> None:
    rng = np.random.default_rng(1)
    tables = rng.normal(0.5, 0.1, size=(400, 48, 12))
    plain = np.mean([t.mean(axis=1).max() - t[0].mean() for t in tables])
    crossed = np.mean([crossed_regret(t, PROMPTS, 0) for t in tables])
    assert plain > 0.05 and abs(crossed) < 0.006


def test_a_choice_that_is_behind_is_seen() -> None:
    rng = np.random.default_rng(2)
    tables = rng.normal(0.5, 0.05, size=(200, 48, 12))
    tables[:, 7] += 0.3
    assert np.mean([crossed_regret(t, PROMPTS, 0) for t in tables]) == pytest.approx(0.3, abs=0.01)
    assert np.mean([crossed_regret(t, PROMPTS, 7) for t in tables]) <= 0.0


def test_a_written_world_is_read_back(tmp_path: Path) -> None:
    table = {
        "cells": [["plain", 125, 0.7], ["soft", 250, 1.0]],
        "blocks": [["a {persona}", 1], ["b {persona}", 1], ["c {persona}", 1]],
        "points": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
    }
    path = write_world(table, "a test", tmp_path / "grid.json")
    cells, points = read_grid(path)
    assert [cell.words for cell in cells] == [
        "plain, step 125, strength 0.7",
        "soft, step 250, strength 1",
    ]
    assert points.shape == (3, 2) and points[2, 1] == 6.0
    assert json.loads(path.read_text())["from"] == "a test"
