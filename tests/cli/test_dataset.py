"""`vultus dataset ingest | dedupe | freeze | export | show`, from pictures to another trainer's folder."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from bench.curation.hostile import picture_bytes
from vultus.cli.main import main


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
    assert frozen["training"] == 3
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
