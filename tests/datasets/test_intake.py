"""Pictures come in from folders and zips without being touched; what means harm is refused in one line."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.curation.hostile import HOSTILE, NAMES, picture_bytes, write_zip
from vultus.core.errors import DatasetError, TornBlobError
from vultus.core.keys import content_id
from vultus.datasets.archive import fault_of_name
from vultus.datasets.intake import PARENT_TEXT, ingest_sources
from vultus.datasets.library import Library
from vultus.images.load import decode_picture
from vultus.images.write import png_bytes


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_a_folder_comes_in_whole_and_stays_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    (source / "sub").mkdir(parents=True)
    (source / "a.png").write_bytes(picture_bytes("a"))
    (source / "a.txt").write_text("a red\nhat", encoding="utf-8")
    (source / "sub" / "b.jpg").write_bytes(picture_bytes("b", kind="JPEG"))
    (source / "broken.png").write_bytes(picture_bytes("c")[:60])
    (source / "list.csv").write_text("1,2", encoding="utf-8")
    before = fingerprint(source)
    with Library.create(tmp_path / "set") as library:
        found = ingest_sources(library, [source])
        entries = library.entries()
        assert library.path(entries[0]).read_bytes() == picture_bytes("a")
        again = ingest_sources(library, [source])
        digest = library.digest()
    assert fingerprint(source) == before
    assert [one.name for one in entries] == ["a.png", "sub/b.jpg"]
    assert entries[0].caption == "a red hat" and entries[0].width_px == 48
    assert (found.added, found.known, found.passed_over) == (2, 0, ("list.csv",))
    assert [one.name for one in found.refused] == ["broken.png"] and "damaged" in found.refused[
        0
    ].reason
    assert (again.added, again.known) == (0, 2)
    with Library.create(tmp_path / "elsewhere") as other:
        ingest_sources(other, [source])
        assert other.digest() == digest, "a digest depends on a place"


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    files = {f"{n}.png": picture_bytes(n) for n in "ab"}
    (tmp_path / "folder").mkdir()
    for name, data in files.items():
        (tmp_path / "folder" / name).write_bytes(data)
    archive = write_zip(
        tmp_path / "pack.zip", {**files, "a.txt": b"a cap", "__MACOSX/._a.png": b"x"}
    )
    (tmp_path / "folder" / "a.txt").write_bytes(b"a cap")
    with Library.create(tmp_path / "one") as one, Library.create(tmp_path / "two") as two:
        ingest_sources(one, [tmp_path / "folder"])
        ingest_sources(two, [archive])
        assert one.digest() == two.digest() and one.entries()[0].caption == "a cap"


def test_one_name_in_two_sources_is_two_pictures(tmp_path: Path) -> None:
    for source in ("x", "y"):
        (tmp_path / source).mkdir()
        (tmp_path / source / "a.png").write_bytes(picture_bytes(source))
    with Library.create(tmp_path / "set") as library:
        ingest_sources(library, [tmp_path / "x", tmp_path / "y"])
        assert [one.name for one in library.entries()] == ["a.png", "y/a.png"]


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_an_archive_that_means_harm_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    make, words = HOSTILE[what]
    path = make(tmp_path / "harm.zip")
    with Library.create(tmp_path / "set") as library:
        with pytest.raises(DatasetError) as refused:
            ingest_sources(library, [path])
        assert library.entries() == () or what in ("a bomb that lies", "a rotten entry")
    first = refused.value.lines()[0]
    assert words in first and first.isprintable() and len(first) < 400
    assert refused.value.next_command
    assert (
        not list(tmp_path.rglob("outside.png")) and not (tmp_path.parent / "outside.png").exists()
    )


def test_hostile_names_are_told_apart_from_odd_ones() -> None:
    good = [
        "a.png",
        "sub/b c.png",
        "ünïcödé 人.png",
        "..a.png",
        "a..png",
        "console.png",
        "'; echo.png",
    ]
    assert [name for name in good if fault_of_name(name)] == []
    assert len(NAMES) >= 10 and all(words in fault_of_name(name) for name, words in NAMES.items())


def test_nothing_readable_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes(b"not a picture")
    with Library.create(tmp_path / "set") as library:
        with pytest.raises(DatasetError, match=r"not one of 1 files.*a\.png"):
            ingest_sources(library, [tmp_path / "x"])
        with pytest.raises(DatasetError, match="no folder"):
            ingest_sources(library, [tmp_path / "missing"])


def test_a_view_that_names_its_parent_is_tied_to_it(tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.mkdir()
    data = picture_bytes("parent")
    (source / "parent.png").write_bytes(data)
    parent = decode_picture(data, Path("parent.png"))
    crop = np.ascontiguousarray(parent.rgb[8:40, 8:40])
    text = {PARENT_TEXT: f"view {parent.content_id}"}
    (source / "view.png").write_bytes(png_bytes(crop, text, xmp_ai=False))
    (source / "orphan.png").write_bytes(
        png_bytes(crop, {PARENT_TEXT: "view sha256:0"}, xmp_ai=False)
    )
    with Library.create(tmp_path / "set") as library:
        ingest_sources(library, [source])
        tied = {one.name: one.lineage for one in library.entries()}
    assert tied["parent.png"] is None and tied["orphan.png"] is None
    assert tied["view.png"] is not None and tied["view.png"].parent == "parent.png"


def test_a_taken_name_keeps_its_picture_and_the_newcomer_gets_one_of_its_own(
    tmp_path: Path,
) -> None:
    for source in ("x", "y", "z/y"):
        (tmp_path / source).mkdir(parents=True)
        (tmp_path / source / "a.png").write_bytes(picture_bytes(source))
    with Library.create(tmp_path / "set") as library:
        for source, name in (("x", "a.png"), ("y", "y/a.png"), ("z/y", "y-2/a.png")):
            for times in range(2):
                found = ingest_sources(library, [tmp_path / source])
                assert (found.added, found.known) == ((1, 0) if times == 0 else (0, 1))
                assert found.renamed == (() if source == "x" else (("a.png", name),))
        held = {one.name: library.path(one).read_bytes() for one in library.entries()}
        assert held == {
            "a.png": picture_bytes("x"),
            "y/a.png": picture_bytes("y"),
            "y-2/a.png": picture_bytes("z/y"),
        }
        (tmp_path / "y" / "a.txt").write_text("a new hat", encoding="utf-8")
        ingest_sources(library, [tmp_path / "y"])
        captions = {one.name: one.caption for one in library.entries()}
        assert captions == {"a.png": "", "y/a.png": "a new hat", "y-2/a.png": ""}


def test_a_source_without_a_usable_name_still_gives_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in ("x", "here", "odd\nname"):
        (tmp_path / source).mkdir()
        (tmp_path / source / "a.png").write_bytes(picture_bytes(source))
    monkeypatch.chdir(tmp_path / "here")
    with Library.create(tmp_path / "set") as library:
        for place in (tmp_path / "x", Path(), tmp_path / "odd\nname"):
            ingest_sources(library, [place])
        names = [one.name for one in library.entries()]
    assert names == ["a.png", "here/a.png", "more/a.png"]


def test_captions_that_cannot_be_used_are_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "x"
    source.mkdir()
    words = {
        "good": "ein Hüt".encode(),
        "latin": "ein Hüt".encode("latin-1"),
        "locked": b"a hat",
        "long": b"x" * 20_000,
        "windows": "ein Hüt".encode("utf-16"),
    }
    for name, data in words.items():
        (source / f"{name}.png").write_bytes(picture_bytes(name))
        (source / f"{name}.txt").write_bytes(data)
    opened = Path.open

    def guarded(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "locked.txt":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", guarded)
    with Library.create(tmp_path / "set") as library:
        found = ingest_sources(library, [source])
        captions = {one.name: one.caption for one in library.entries()}
        stage = library.read_stage("ingest") or {}
    used = {"good.png": "ein Hüt", "windows.png": "ein Hüt"}
    assert captions == {f"{name}.png": used.get(f"{name}.png", "") for name in words}
    assert [(one.name, one.reason) for one in found.unread] == [
        ("latin.txt", "it is not UTF-8 text"),
        ("locked.txt", "it cannot be read (Permission denied)"),
        ("long.txt", "it has more than 16384 bytes"),
    ]
    assert stage["captions_unread"] == [[one.name, one.reason] for one in found.unread]
    picture = {"latin.png": picture_bytes("latin"), "latin.txt": words["latin"]}
    archive = write_zip(tmp_path / "x.zip", picture)
    with Library.create(tmp_path / "other") as library:
        assert [one.name for one in ingest_sources(library, [archive]).unread] == ["latin.txt"]


def test_ingesting_again_brings_lost_bytes_back(tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.mkdir()
    for n in "abc":
        (source / f"{n}.png").write_bytes(picture_bytes(n))
    with Library.create(tmp_path / "set") as library:
        ingest_sources(library, [source])
        places = [library.path(one) for one in library.entries()]
        places[0].unlink()
        places[1].chmod(0o644)
        places[1].write_bytes(picture_bytes("b")[:100])
        for entry, what in zip(library.entries(), ("is missing", "is not what was"), strict=False):
            with pytest.raises(TornBlobError, match=what) as torn:
                library.picture(entry.content_id)
            assert f"vultus dataset ingest ORIGINALS --into {tmp_path / 'set'}" in str(torn.value)
            assert "workspace" not in str(torn.value)
        found = ingest_sources(library, [source])
        assert (found.added, found.known) == (0, 3)
        assert [path.read_bytes() for path in places] == [picture_bytes(n) for n in "abc"]


def test_pipes_and_odd_names_are_passed_over(tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.mkdir()
    (source / "a.png").write_bytes(picture_bytes("a"))
    os.mkfifo(source / "pipe.png")
    os.mkfifo(source / "a.txt")
    (source / "two\nlines.csv").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(source) + b"/broken-\xff.csv")).write_bytes(b"")
    with Library.create(tmp_path / "set") as library:
        found = ingest_sources(library, [source])
    assert found.added == 1
    assert found.passed_over == (r"broken-\udcff.csv", "pipe.png", r"two\nlines.csv")


def test_words_stay_where_their_file_is_gone_and_a_picture_is_exchanged_by_the_users_word(
    tmp_path: Path,
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.png").write_bytes(picture_bytes("a"))
    (source / "a.txt").write_text("by the sea", encoding="utf-8")
    with Library.create(tmp_path / "set") as library:
        ingest_sources(library, [source])
        (source / "a.txt").unlink()
        assert ingest_sources(library, [source]).known == 1
        (source / "a.txt").write_bytes(b"caf\xe9")
        found = ingest_sources(library, [source])
        assert [one.name for one in found.unread] == ["a.txt"]
        assert [one.caption for one in library.entries()] == ["by the sea"]
        (source / "a.txt").unlink()
        (source / "a.png").write_bytes(picture_bytes("b"))
        ingest_sources(library, [source], replace_them=True)
        (one,) = library.entries()
        assert one.content_id == content_id(picture_bytes("b")) and one.caption == ""


def test_the_order_of_sources_makes_no_second_picture(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(picture_bytes(name))
    with Library.create(tmp_path / "set") as library:
        ingest_sources(library, [tmp_path / "a", tmp_path / "b"])
        again = ingest_sources(library, [tmp_path / "b", tmp_path / "a"])
        assert len(library.entries()) == 2 and again.known == 2
