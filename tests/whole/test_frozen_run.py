"""From the verbs of `vultus dataset` to a run: what was frozen is what is trained on and measured with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vultus.cli.main import main
from vultus.core.errors import DatasetError
from vultus.store.ledger import Ledger
from vultus.studies.drive import drive
from vultus.studies.given import gather
from vultus.studies.workspace import Workspace
from vultus.testing.planted import make_workspace
from vultus.training import fake
from vultus.training.records import TrainPicture

__all__: list[str] = []


def _dataset(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["dataset", *(str(word) for word in words), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A workspace whose pictures went through every verb; vultus.toml names the frozen dataset."""
    folder = make_workspace(tmp_path / "ada", pictures=20)
    place, pack = folder / "dataset", folder / "pack"
    assert _dataset(capsys, "ingest", folder / "pictures", "--into", place)["pictures"] == 20
    _dataset(capsys, "dedupe", place, "--apply")
    _dataset(capsys, "caption", place, "--pack", pack)
    _dataset(capsys, "split", place, "--pack", pack)
    written = _dataset(capsys, "views", place, "--pack", pack, "--resolution", "64", "--write")
    assert written["written"]
    _dataset(capsys, "freeze", place, "--resolution", "64")
    plan = folder / "vultus.toml"
    plan.write_text('dataset = "dataset"\n' + plan.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def test_what_was_frozen_is_trained_on_and_measured_with(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainPicture] = []
    plain = fake.train

    def spy(spec: Any, base: Path, pictures: Any, *rest: Any) -> Any:
        seen.extend(pictures)
        return plain(spec, base, pictures, *rest)

    monkeypatch.setattr(fake, "train", spy)
    outcome = drive(Workspace(workspace), inline=True, quiet=True)
    (path,) = (workspace / "dataset" / "frozen").glob("*/manifest.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["pictures"]
    views = {row["name"]: row for row in rows if row["lineage"]}
    train = {r["content_id"]: r for r in rows if r["role"] == "training"}
    held_out = {r["content_id"] for r in rows if r["role"] == "reference" and not r["lineage"]}
    assert (
        len(held_out) == 12
        and len(views) >= 4
        and set(train) & {v["content_id"] for v in views.values()}
    )
    # Sides, captions and views are those of the manifest; a view of a reference has no vote.
    assert {m.content_id for m in outcome.dataset.references} == held_out
    assert {m.content_id: m.caption for m in outcome.dataset.training} == {
        one: row["caption"] for one, row in train.items()
    }
    for scale in outcome.scales:
        assert set(scale.yardstick.reference_ids) == held_out
    # A view reaches the trainer as a part of its parent, at its true place and size.
    parts = [one for one in seen if one.crop is not None]
    assert len(seen) == len(train) and len(parts) == len(
        set(train) & {v["content_id"] for v in views.values()}
    )
    boxes = {
        tuple(int(v) for v in r["lineage"]["detail"].split("box ")[1].split())
        for r in views.values()
    }
    assert {one.crop for one in parts} <= boxes
    assert outcome.choice.chosen.base == "soft", (
        "the planted answer is found as without a frozen dataset"
    )
    with Ledger.open(workspace / ".vultus") as ledger:
        kinds = [attempt.kind for attempt in ledger.attempts()]
    assert kinds.count("adopt") == kinds.count("train") == 1 and "curate" not in kinds


def test_a_frozen_dataset_that_does_not_fit_is_refused_before_any_work(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = (workspace / "vultus.toml").read_text(encoding="utf-8")
    other = workspace / "persona.toml"
    told = other.read_text(encoding="utf-8")
    other.write_text(told.replace("ohwx", "sks"), encoding="utf-8")
    with pytest.raises(DatasetError, match="frozen for Ada"):
        gather(Workspace(workspace))
    other.write_text(told, encoding="utf-8")
    _dataset(capsys, "freeze", workspace / "dataset", "--resolution", "128")
    with pytest.raises(DatasetError, match="more than one") as fault:
        gather(Workspace(workspace))
    digest = sorted(p.parent.name for p in workspace.glob("dataset/frozen/*/manifest.json"))[0]
    assert digest in str(fault.value.expected)
    named = plan.replace('"dataset"', f'"dataset/frozen/{digest}"')
    (workspace / "vultus.toml").write_text(named, encoding="utf-8")
    given = gather(Workspace(workspace))
    assert given.frozen is not None and given.frozen.digest[7:23] == digest
    _dataset(capsys, "ingest", workspace / "pictures", "--into", workspace / "bare")
    _dataset(capsys, "freeze", workspace / "bare")
    (workspace / "vultus.toml").write_text(plan.replace('"dataset"', '"bare"'), encoding="utf-8")
    with pytest.raises(DatasetError, match="holds 0 references"):
        gather(Workspace(workspace))
