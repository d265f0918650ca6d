"""Ingest, dedupe and freeze are killed at points of their whole life; the next call ends with the same digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.curation.faults import measure_kills


@pytest.mark.slow
def test_killed_anywhere_and_resumed_with_the_same_digest(tmp_path: Path) -> None:
    found = measure_kills(tmp_path, points=6)
    assert found["killed"] >= 5 and found["calls"] > 300
    assert found["same_digest"] == found["points"] == 6
    assert sum(count > 0 for count in found["stage_of_kill"].values()) >= 2
