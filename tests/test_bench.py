"""A committed figure says on which machine, from which commit and from which tree it comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import record as bench_record

ROOT = Path(__file__).resolve().parents[1]

WORDS = {"name", "date", "commit", "clean", "machine", "seconds", "figures"}


def test_a_record_holds_everything_its_figures_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_record, "RESULTS", tmp_path / "bench" / "results")
    (tmp_path / "bench").mkdir()
    path = bench_record.record("planted", {"share": 0.5}, seconds=1.25)
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert set(whole) == WORDS
    assert whole["clean"] is False and whole["commit"] is None, (
        "no git checkout: nothing is vouched"
    )
    assert whole["machine"]["cores"] >= 1 and whole["machine"]["libraries"]["torch"]
    assert whole["figures"] == {"share": 0.5}


def test_committed_results_have_the_form_of_a_record() -> None:
    results = sorted((ROOT / "bench" / "results").glob("*.json"))
    for path in results:
        whole = json.loads(path.read_text(encoding="utf-8"))
        assert set(whole) >= WORDS, f"{path.name} lacks {sorted(WORDS - set(whole))}"
        assert whole["name"] == path.stem
        assert whole["figures"], f"{path.name} holds no figure"
