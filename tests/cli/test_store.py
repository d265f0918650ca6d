"""`vultus store`: what a memory holds, whether it is whole, and what of it nobody needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vultus.cli.main import main
from vultus.steps.step import Step
from vultus.store.census import count, places_of, spent_on
from vultus.store.ledger import Ledger

HERE, THERE = {"machine": "pod", "torch": "2.13"}, {"machine": "pod", "torch": "2.14"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A memory with two finished steps, one of them a folder, one failed one, and one orphan."""
    with Ledger.open(tmp_path / ".vultus") as ledger:
        (tmp_path / "set").mkdir()
        for name in ("a", "b"):
            (tmp_path / "set" / name).write_text(name)
        outputs = {"lora.bin": ledger.blobs.put_bytes(b"weights")}
        ledger.commit(ledger.begin(Step("train", 1, {"rank": 8}), HERE), outputs, 9.0)
        folder = ledger.blobs.put_folder(tmp_path / "set")
        attempt = ledger.begin(Step("curate", 1, {"seed": 1}), HERE)
        ledger.commit(attempt, {"dataset": folder}, 2.0, environment=THERE)
        asked = ledger.blobs.put_bytes(b"asked with")
        ledger.fail(ledger.begin(Step("render", 1, {"lora": asked}), HERE), "ValueError: no", 1.0)
        ledger.blobs.put_bytes(b"nobody's")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_show_counts_everything(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = told(capsys, "store", "show", str(workspace))
    assert code == 0
    assert record["steps"] == {"curate": 1, "render": 1, "train": 1}
    assert record["attempts"] == {"done": 2, "failed": 1}
    assert (record["outputs"], record["files"], record["environments"]) == (2, 6, 2)
    assert main(["store", "show", str(workspace)]) == 0
    assert "1 curate, 1 render, 1 train" in capsys.readouterr().out


def test_show_tells_a_step_by_its_first_digits(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Step("render", 1, {"lora": "x"}).key
    code = main(["store", "show", str(workspace), key[:10]])
    assert code == 2 and "no steps" in capsys.readouterr().err
    with Ledger.open(workspace / ".vultus") as ledger:
        failed = next(step.key for step in ledger.steps("render"))
    code, record = told(capsys, "store", "show", str(workspace), failed[:10])
    assert code == 0 and record["key"] == failed
    assert record["attempts"][0]["message"] == "ValueError: no"  # type: ignore[index]


def test_verify_finds_a_changed_a_missing_and_a_torn_thing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, "store", "verify", str(workspace), "--quiet") == (
        0,
        {"files": 6, "faults": []},
    )
    with Ledger.open(workspace / ".vultus") as ledger:
        changed = ledger.blobs.path(ledger.blobs.put_bytes(b"weights"))
        gone = ledger.blobs.path(ledger.blobs.put_bytes(b"a"))
    changed.chmod(0o644)
    changed.write_bytes(b"Weights")
    gone.unlink()
    code, record = told(capsys, "store", "verify", str(workspace), "--quiet")
    faults = record["faults"]
    assert code == 1 and isinstance(faults, list) and len(faults) == 2
    assert {str(fault["where"]).split(" ")[0] for fault in faults} == {"dataset", str(changed)}


def test_sweep_shows_first_and_removes_exactly_what_is_dead(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, record = told(capsys, "store", "sweep", str(workspace))
    assert code == 0 and record["removed"] == 0 and record["bytes"] == len(b"nobody's")
    assert main(["store", "sweep", str(workspace)]) == 0
    assert "--apply" in capsys.readouterr().out
    code, record = told(capsys, "store", "sweep", str(workspace), "--apply")
    assert (code, record["removed"]) == (0, 1)
    assert told(capsys, "store", "verify", str(workspace), "--quiet")[0] == 0
    with Ledger.open(workspace / ".vultus") as ledger:
        assert len(ledger.blobs.names()) == 5, "something that a step needs was swept"
    assert main(["store", "sweep", str(workspace)]) == 0
    assert "every stored file is needed" in capsys.readouterr().out


def test_a_folder_without_a_ledger_gets_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "verify", str(tmp_path)]) == 2
    assert "vultus run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_where_and_how_long_work_was_done_is_told_by_key(workspace: Path) -> None:
    with Ledger.open(workspace / ".vultus") as ledger:
        keys = [step.key for step in ledger.steps()]
        assert [(s.kind, s.seconds, s.steps) for s in spent_on(ledger, [*keys, keys[0], "0"])] == [
            ("train", 9.0, 1),
            ("curate", 2.0, 1),
        ]
        places = places_of(ledger, keys)
        assert {tuple(p.steps.items()): p.environment["torch"] for p in places} == {
            (("train", 1),): "2.13",
            (("curate", 1),): "2.14",
        }
        assert count(ledger).environments == 2
