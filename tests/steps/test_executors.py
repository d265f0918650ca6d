"""The word for an executor is read as it is meant, and every lane gets threads and a card of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.core.errors import SpecError, UnknownNameError
from vultus.steps.executors import (
    Executor,
    lane_environments,
    open_executor,
    parse_executor,
    visible_cards,
    worker_environment,
)
from vultus.steps.pools import InlinePool, ProcessPool
from vultus.studies.plan import load_plan
from vultus.testing.planted import make_workspace


@pytest.mark.parametrize(
    ("words", "executor"),
    [
        ("auto", Executor("auto")),
        ("inline", Executor("inline", 1)),
        ("local:4", Executor("local", 4)),
        ("ray", Executor("ray")),
        ("ray:10.0.0.4:6379", Executor("ray", 0, "10.0.0.4:6379")),
        ("ray:ray://head:10001", Executor("ray", 0, "ray://head:10001")),
    ],
)
def test_words(words: str, executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert parse_executor(words) == executor


@pytest.mark.parametrize(
    "words", ["", "local", "local:0", "local:65", "local:x", "rai", "ray:", "inline:2"]
)
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(UnknownNameError, match="no executor"):
        parse_executor(words)


def test_a_wrong_word_is_a_fault_of_the_file(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    plan = tmp_path / "vultus.toml"
    plan.write_text(plan.read_text().replace("local:2", "locale:2"))
    with pytest.raises(SpecError, match="locale:2"):
        load_plan(plan)


def test_every_lane_has_a_card_of_its_own() -> None:
    four = lane_environments(4, ["0", "1", "2", "3"])
    assert [lane["CUDA_VISIBLE_DEVICES"] for lane in four] == ["0", "1", "2", "3"]
    shared = lane_environments(3, ["0", "GPU-7"])
    assert [lane["CUDA_VISIBLE_DEVICES"] for lane in shared] == ["0", "GPU-7", "0"]
    for cards in ([], ["0"]):  # one card needs no choice, none has none
        assert all("CUDA_VISIBLE_DEVICES" not in lane for lane in lane_environments(2, cards))
    assert all(lane["OMP_WAIT_POLICY"] == "PASSIVE" for lane in four)
    assert int(worker_environment(1)["OMP_NUM_THREADS"]) >= int(four[0]["OMP_NUM_THREADS"]) >= 1
    assert all(lane["OMP_NUM_THREADS"] == "1" for lane in lane_environments(2, [], threads=1))
    assert visible_cards({"CUDA_VISIBLE_DEVICES": "2, 3"}) == ["2", "3"]
    assert visible_cards({"CUDA_VISIBLE_DEVICES": ""}) == []


def test_the_pool_of_a_word(tmp_path: Path) -> None:
    inline = open_executor(parse_executor("inline"), tmp_path / "a", 1, None)
    local = open_executor(parse_executor("local:3"), tmp_path / "b", 3, None)
    assert isinstance(inline, InlinePool) and isinstance(local, ProcessPool)
    assert local.worker_pids() == [], "a worker was started before there was work"
    inline.close()
    local.close()
