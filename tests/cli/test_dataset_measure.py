"""The measuring verbs as a user types them: on a stand-in set with planted faults, on pages and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.sets import planted_library
from vultus.cli.main import main
from vultus.core.files import write_text
from vultus.datasets.intake import ingest_sources
from vultus.datasets.library import Library
from vultus.faces.engines.fake import Planted
from vultus.testing.planted import PERSONA_TOML, make_pack, make_picture


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """24 portraits of one persona, a stranger, a picture without anybody, a pack that reads what is planted."""
    planted_library(tmp_path).close()
    odd = tmp_path / "odd"
    make_picture(odd / "stranger.png", Planted(99, 0.95, "ok", (8, 8, 40, 40), 3), "stranger")
    make_picture(odd / "nobody.png", None, "nobody")
    with Library.open(tmp_path / "set") as library:
        ingest_sources(library, [odd])
    write_text(tmp_path / "persona.toml", PERSONA_TOML)
    make_pack(tmp_path / "pack")
    return tmp_path / "set"


def told(dataset: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    verb, *rest = words
    pack = str(dataset.parent / "pack")
    assert main(["dataset", verb, str(dataset), *rest, "--pack", pack, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "http" not in page.split("</style>")[1].replace(
        "http-equiv", ""
    )
    return found


def test_audit_proposes_applies_and_undoes(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(dataset, capsys, "audit", "--resolution", "64")
    assert found["pictures"] == 26 and found["set_aside"] is None
    assert {row["name"]: row["reason"] for row in found["findings"]} == {
        "stranger.png": "off_persona",
        "nobody.png": "no_face",
    }
    again = told(dataset, capsys, "audit", "--resolution", "64", "--apply")
    assert set(again["set_aside"]) == {"stranger.png", "nobody.png"}
    with Library.open(dataset) as library:
        assert len(library.kept()) == 24
    assert main(["dataset", "audit", str(dataset), "--undo", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["back"]) == {"stranger.png", "nobody.png"}
    with Library.open(dataset) as library:
        assert len(library.kept()) == 26


def test_what_many_pictures_share_is_one_line(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All 26 pictures are small for 1024 px: that must not bury the one of a stranger."""
    pack = ["--pack", str(dataset.parent / "pack")]
    assert main(["dataset", "audit", str(dataset), *pack, "--resolution", "1024"]) == 0
    lines = capsys.readouterr().out.splitlines()
    small = [line for line in lines if "smaller than the training resolution" in line]
    assert len(small) == 1 and " and 25 more: " in small[0]
    assert sum(line.startswith("  stranger.png: ") for line in lines) == 1
    assert main(["dataset", "views", str(dataset), *pack, "--kinds", "full", "face"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (count,) = [int(line.split(", ")[1].split()[0]) for line in lines if "left out" in line]
    assert count > 12 and f"  and {count - 12} more (all of them: --json)" in lines


def test_coverage_lists_shots(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(dataset, capsys, "coverage", "--wanted", "40")
    assert len(found["cells"]) == 25 and found["without_face"] == ["nobody.png"]
    assert found["shots"] and sum(s["count"] for s in found["shots"]) > 5
    assert all("a woman" in shot["prompt"] for shot in found["shots"])


def test_captions_and_split_are_what_freeze_reads(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(dataset, capsys, "audit", "--resolution", "64", "--apply")
    captions = told(dataset, capsys, "caption")
    assert len(captions["captions"]) == 24
    assert all(
        "ohwx woman" in c["text"] and c["by"] == "user" for c in captions["captions"].values()
    )
    split = told(dataset, capsys, "split", "--seed", "3")
    assert sorted(set(split["roles"].values())) == ["reference", "training"]
    first = dict(split["roles"])
    assert told(dataset, capsys, "split", "--seed", "3")["roles"] == first
    assert told(dataset, capsys, "split", "--seed", "4")["roles"] != first
    assert main(["dataset", "freeze", str(dataset), "--json"]) == 0
    capsys.readouterr()
    manifests = list((dataset / "frozen").glob("*/manifest.json"))
    assert len(manifests) == 1
    rows = json.loads(manifests[0].read_text(encoding="utf-8"))["pictures"]
    last = told(dataset, capsys, "split", "--seed", "4")["roles"]
    assert {row["name"]: row["role"] for row in rows} == last
    assert {row["name"]: row["caption"] for row in rows} == {
        name: c["text"] for name, c in captions["captions"].items()
    }


def test_written_views_have_masks_and_follow_their_parent(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(dataset, capsys, "caption")
    found = told(dataset, capsys, "views", "--resolution", "64", "--write")
    kinds = [view["kind"] for view in found["views"]]
    assert kinds.count("full") == 26 and kinds.count("face") >= 8
    with Library.open(dataset) as library:
        derived = [entry for entry in library.kept() if entry.derived]
        masks = (library.read_stage("masks") or {})["masks"]
        assert len(derived) == kinds.count("face") and len(masks) == len(kinds)
        assert all(library.blobs.path(one).is_file() for one in masks.values())
        assert {entry.lineage.how for entry in derived if entry.lineage} == {"view"}
        assert not any(entry.name.startswith("masks") for entry in library.entries())
    again = told(dataset, capsys, "audit", "--resolution", "64")
    assert again["pictures"] == 26, "views are not audited as pictures"


def test_a_file_of_settings_is_read_and_the_command_line_stands_above_it(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dataset.parent / "measuring.toml"
    write_text(path, '[audit]\nreferences_min = 4\n[views]\nkinds = ["full"]\nmask_rest = 7\n')
    words = ("--settings", str(path))

    def held(*more: str) -> int:
        return list(told(dataset, capsys, "split", *more)["roles"].values()).count("reference")

    assert (held(), held(*words), held("--references", "10", *words)) == (12, 8, 10)
    views = told(dataset, capsys, "views", "--resolution", "64", *words)
    assert {view["kind"] for view in views["views"]} == {"full"}
    assert views["spec"]["mask_rest"] == 7 and views["spec"]["resolution_px"] == 64


def test_faults_are_told_with_the_next_command(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset.parent / "persona.toml").unlink()
    assert main(["dataset", "caption", str(dataset), "--pack", str(dataset.parent / "pack")]) == 2
    assert "--persona" in capsys.readouterr().err
    assert main(["dataset", "views", str(dataset), "--rest", "300", "--pack", "fake"]) == 2
    assert "mask_rest" in capsys.readouterr().err
    assert main(["dataset", "audit", str(dataset.parent)]) == 2
    assert "vultus dataset ingest" in capsys.readouterr().err


def test_equal_pictures_go_to_one_side_without_a_dedupe(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = dataset.parent / "copies"
    copies.mkdir()
    with Library.open(dataset) as library:
        names = [entry.name for entry in library.entries()]
        for entry in library.entries():
            (copies / f"again-{entry.name}").write_bytes(library.path(entry).read_bytes())
        ingest_sources(library, [copies])
    roles = told(dataset, capsys, "split")["roles"]
    pairs = [(roles[name], roles[f"again-{name}"]) for name in names if name in roles]
    assert len(pairs) == 25 and all(one == other for one, other in pairs)
    assert {one for one, _ in pairs} == {"reference", "training"}
    assert main(["dataset", "freeze", str(dataset)]) == 0


@pytest.mark.parametrize(
    ("words", "told_words"),
    [
        (["audit", "--resolution", "-5"], "--resolution -5 is outside 64..4096"),
        (["audit", "--z", "50"], "off_persona_z"),
        (["audit", "--z", "-3.5"], "off_persona_z"),
        (["views", "--resolution", "-5"], "resolution_px"),
        (["coverage", "--wanted", "-3"], "--wanted -3 is outside 1.."),
        (["audit", "--undo", "--apply", "--z", "4"], "leave out --apply, --z"),
        (["frames", "clip.mp4", "--undo", "--apply"], "leave out --apply"),
        (["dedupe", "--undo", "--keep", "a.png", "--match-cells", "9"], "--keep, --match-cells"),
        (["coverage", "--persona", "nowhere.toml"], "nowhere.toml"),
        (["freeze", "--persona", "nowhere.toml"], "nowhere.toml"),
        (["split", "--settings", "nowhere.toml"], "nowhere.toml"),
        (["split", "--references", "30"], "vultus dataset ingest MORE --into {dataset}"),
    ],
)
def test_what_makes_no_sense_is_refused(
    dataset: Path, capsys: pytest.CaptureFixture[str], words: list[str], told_words: str
) -> None:
    pack = [] if words[0] in ("dedupe", "freeze") else ["--pack", str(dataset.parent / "pack")]
    assert main(["dataset", words[0], str(dataset), *words[1:], *pack]) == 2
    assert told_words.format(dataset=dataset) in capsys.readouterr().err
    with Library.open(dataset) as library:
        assert len(library.kept()) == 26 and library.decisions() == ()


@pytest.mark.parametrize(
    "words",
    [
        ["coverage", "--settings", "x"],
        *([v, "--persona", "x"] for v in ("audit", "split", "views")),
    ],
)
def test_an_option_that_would_be_ignored_is_none(
    dataset: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["dataset", words[0], str(dataset), *words[1:]])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_settings_that_no_verb_reads_are_refused(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dataset.parent / "measuring.toml"
    for key in ("hash_bits = 20", "match_cells = 12", "coherence_min = 0.4"):
        write_text(path, f"[audit]\n{key}\n")
        assert main(["dataset", "audit", str(dataset), "--settings", str(path)]) == 2
        assert key.split()[0] in capsys.readouterr().err


def test_freeze_counts_pictures_and_views_apart(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(dataset, capsys, "split")
    found = told(dataset, capsys, "views", "--resolution", "64", "--write")
    roles = (json.loads((dataset / "stages" / "split.json").read_text()))["roles"]
    assert main(["dataset", "freeze", str(dataset), "--json"]) == 0
    frozen = json.loads(capsys.readouterr().out)
    held = [name for name, role in roles.items() if role == "reference"]
    faces = [one["parent"] for one in found["views"] if one["kind"] == "face"]
    assert frozen["references"] == len(held) and frozen["training"] == 26 - len(held)
    trained = [parent for parent in faces if parent not in held]
    assert 0 < frozen["training_views"] == len(trained) < len(faces)
