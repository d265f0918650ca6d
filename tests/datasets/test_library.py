"""A dataset folder remembers pictures, measurements and decisions; a decision can be taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.core.errors import BusyError, DatasetError
from vultus.core.files import write_json
from vultus.datasets.library import DATASET_FILE, Library
from vultus.datasets.records import Entry, Lineage, SetAside


def entry(name: str, data: bytes, lineage: Lineage | None = None) -> Entry:
    from vultus.core.keys import content_id

    one = content_id(data)
    return Entry(
        name, one, one, 8, 8, "PNG", lineage=lineage, origin=(("seed", "7"),), notes=("n",)
    )


def test_what_was_added_is_there_after_reopening(tmp_path: Path) -> None:
    first = entry("b.png", b"b")
    with Library.create(tmp_path / "set") as library:
        library.blobs.put_bytes(b"b")
        library.add([first, entry("a.png", b"a")])
        library.remember("kind/1", {first.content_id: b"measured"})
        assert library.write_stage("dedupe", {"groups": []}).startswith("sha256:")
    with Library.open(tmp_path / "set") as library:
        assert [one.name for one in library.entries()] == ["a.png", "b.png"]
        assert library.entries()[1] == first
        assert library.path(first).read_bytes() == b"b"
        assert library.recall("kind/1", [first.content_id, "sha256:0"]) == {
            first.content_id: b"measured"
        }
        assert library.measured("kind/1") == {first.content_id} and not library.measured("kind/2")
        assert (
            library.read_stage("dedupe") == {"groups": []} and library.read_stage("audit") is None
        )


def test_a_decision_is_undone_and_views_follow_their_parent(tmp_path: Path) -> None:
    view = entry("a-face.png", b"view", Lineage("a.png", "view", "box 0 0 4 4"))
    frame = entry("frame.png", b"frame", Lineage("a.png", "frame", "at 4.0 s"))
    with Library.create(tmp_path / "set") as library:
        library.add([entry("a.png", b"a"), entry("b.png", b"b"), frame])
        assert library.derive(view, b"view").content_id == view.content_id
        library.decide("dedupe", [SetAside("a.png", "edited", "b.png")])
        assert [one.name for one in library.kept()] == ["b.png", "frame.png"]
        library.decide("dedupe", [SetAside("a.png", "again", "")])
        assert len(library.decisions()) == 1, "a picture is set aside once"
        taken = library.undo("dedupe")
        assert taken is not None and taken.set_aside[0].name == "a.png"
        assert len(library.kept()) == 4
        assert library.undo("dedupe") is None and library.undo("audit") is None
        with pytest.raises(ValueError, match="parent"):
            library.derive(entry("x.png", b"x"), b"x")


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a dataset folder"):
        Library.open(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"not empty.*notes\.txt"):
        Library.create(tmp_path)
    write_json(tmp_path / "new" / DATASET_FILE, {"format": 99})
    with pytest.raises(DatasetError, match="format 99"):
        Library.create(tmp_path / "new")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        Library.create(tmp_path / "set") as library,
        Library.open(tmp_path / "set") as other,
        library.at_work(),
        pytest.raises(BusyError),
        other.at_work(),
    ):
        raise AssertionError("two writers")
