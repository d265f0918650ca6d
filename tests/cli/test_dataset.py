"""`vultus dataset ingest | dedupe | freeze | export | show`, from pictures to another trainer's folder."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from bench.curation.hostile import picture_bytes
from vultus.cli.main import main
from vultus.datasets.library import Library


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["dataset", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_from_pictures_to_an_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, folder = tmp_path / "photos", str(tmp_path / "set")
    source.mkdir()
    for n in range(3):
        (source / f"{n}.png").write_bytes(picture_bytes(str(n), 96))
    (source / "0 (2).png").write_bytes(picture_bytes("0", 96))
    (source / "1.jpg").write_bytes(picture_bytes("1", 96, "JPEG"))

    taken = run(capsys, "ingest", str(source), "--into", folder)
    assert (taken["added"], taken["refused"]) == (5, [])
    found = run(capsys, "dedupe", folder, "--apply")
    assert sorted(found["applied"]) == ["0 (2).png", "1.jpg"] and found["kept"] == 3
    shown = run(capsys, "show", folder)
    assert [one["name"] for one in shown["pictures"] if one["set_aside"]] == found["applied"]
    frozen = run(capsys, "freeze", folder)
    assert frozen["training"] == 3 and frozen["without_caption"] == ["0.png", "1.png", "2.png"]
    made = run(capsys, "export", folder, "--format", "kohya", "--to", str(tmp_path / "out"))
    assert made["manifest"] == frozen["digest"] and (tmp_path / "out" / "dataset.toml").is_file()
    back = run(capsys, "dedupe", folder, "--undo")
    assert sorted(back["restored"]) == sorted(found["applied"])

    pages = [Path(one["page"]) for one in (taken, found, shown, frozen, made)]
    assert len({page.name for page in pages}) == 5
    for page in pages:
        text = unescape(page.read_text(encoding="utf-8"))
        assert "default-src 'none'" in text and "<script" not in text
        assert text.count("data:image/jpeg") >= 3
    assert "laid over each other" in pages[1].read_text(encoding="utf-8")


def test_people_read_lines_and_faults_say_what_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "dedupe", str(tmp_path)]) == 2
    assert "vultus dataset ingest" in capsys.readouterr().err
    (tmp_path / "a.png").write_bytes(picture_bytes("a"))
    assert (
        main(
            ["dataset", "ingest", str(tmp_path / "a.png"), "--into", str(tmp_path / "s"), "--quiet"]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "1 pictures in the dataset: 1 new" in told and "next: vultus dataset dedupe" in told
    assert main(["dataset", "export", str(tmp_path / "s"), "--format", "kohya", "--to", "x"]) == 2
    assert "nothing was frozen yet" in capsys.readouterr().err
    assert main(["dataset", "freeze", str(tmp_path / "s"), "--resolution", "9"]) == 2


def test_what_ingest_could_not_take_as_it_was_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "a set")
    for source, words in (("x", b"a hat"), ("y", "ein Hüt".encode("latin-1"))):
        (tmp_path / source).mkdir()
        (tmp_path / source / "a.png").write_bytes(picture_bytes(source))
        (tmp_path / source / "a.txt").write_bytes(words)
    assert run(capsys, "ingest", str(tmp_path / "x"), "--into", folder)["renamed"] == []
    found = run(capsys, "ingest", str(tmp_path / "y"), "--into", folder)
    assert found["renamed"] == [{"name": "a.png", "kept_as": "y/a.png"}]
    assert found["captions_unread"] == [{"name": "a.txt", "reason": "it is not UTF-8 text"}]
    assert main(["dataset", "ingest", str(tmp_path / "y"), "--into", folder, "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "  a.png is kept as y/a.png: another picture has that name" in told
    assert "  no caption from a.txt: it is not UTF-8 text" in told
    assert f"next: vultus dataset dedupe '{folder}'" in told
    frozen = run(capsys, "freeze", folder)
    assert frozen["without_caption"] == ["y/a.png"]


def test_places_that_cannot_be_used_are_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "photos", tmp_path / "set"
    source.mkdir()
    (source / "a.png").write_bytes(picture_bytes("a"))
    run(capsys, "ingest", str(source), "--into", str(folder))
    run(capsys, "freeze", str(folder))
    file = tmp_path / "file"
    file.write_bytes(b"")
    export = ["export", str(folder), "--format", "kohya", "--to", str(file)]
    faults = {
        "not a folder": export,
        "no folder can be made here": ["ingest", str(source), "--into", "/proc/foo"],
        "no folder can be made here (File exists)": ["ingest", str(source), "--into", str(file)],
        "there is no folder": ["ingest", str(tmp_path / "phots"), "--into", str(tmp_path / "new")],
    }
    for what, words in faults.items():
        assert main(["dataset", *words]) == 2
        told = capsys.readouterr().err
        assert what in told and "next: " in told, told
    assert not (tmp_path / "new").exists(), "a mistyped source left a dataset behind"


@pytest.mark.parametrize("name", ["decisions.json", "stages/dedupe.json", "stages/captions.json"])
def test_a_file_that_was_cut_short_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source, folder = tmp_path / "photos", tmp_path / "set"
    source.mkdir()
    (source / "a.png").write_bytes(picture_bytes("a"))
    (source / "b.png").write_bytes(picture_bytes("a"))
    run(capsys, "ingest", str(source), "--into", str(folder))
    run(capsys, "dedupe", str(folder), "--apply")
    path = folder / name
    text = path.read_text(encoding="utf-8") if path.is_file() else "[]"
    for damaged in (text[: len(text) // 2], '"words"'):
        path.write_text(damaged, encoding="utf-8")
        assert main(["dataset", "freeze", str(folder)]) == 2
        told = capsys.readouterr().err
        assert "is damaged" in told and str(path) in told and "next: " in told, told


def test_an_export_says_where_masks_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "photos", tmp_path / "set"
    source.mkdir()
    for n in "ab":
        (source / f"{n}.png").write_bytes(picture_bytes(n))
    run(capsys, "ingest", str(source), "--into", str(folder))
    with Library.open(folder) as library:
        mask = library.blobs.put_bytes(picture_bytes("mask"))
        library.write_stage("masks", {"masks": {"a.png": mask}})
    run(capsys, "freeze", str(folder))
    for form, masks in (("kohya", 1), ("onetrainer", 1), ("diffusers", 0)):
        words = ["export", str(folder), "--format", form, "--to", str(tmp_path / form)]
        assert main(["dataset", *words, "--quiet"]) == 0
        told = capsys.readouterr().out
        assert ("only 1 of them have a mask" in told) is (masks == 1)
        assert ("dataset.toml names none" in told) is (form == "kohya")


def test_a_damaged_picture_is_never_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "photos", tmp_path / "set"
    source.mkdir()
    (source / "a.png").write_bytes(picture_bytes("a"))
    run(capsys, "ingest", str(source), "--into", str(folder))
    run(capsys, "freeze", str(folder))
    with Library.open(folder) as library:
        path = library.path(library.entries()[0])
    path.chmod(0o644)
    path.write_bytes(picture_bytes("b"))
    words = ["export", str(folder), "--format", "kohya", "--to", str(tmp_path / "out")]
    assert main(["dataset", *words]) == 2
    told = capsys.readouterr().err
    assert "is not what was stored" in told and "ingest the originals again" in told
    assert not (tmp_path / "out").exists()
