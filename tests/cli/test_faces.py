"""`vultus faces` on the stand-in world: seen, compared, verified, cut; in words and as JSON."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from vultus.cli.main import main
from vultus.cli.wording import say
from vultus.core.seeds import stream
from vultus.faces.engines import open_engine
from vultus.faces.packs import Pack
from vultus.faces.records import FaceEngine
from vultus.images.load import load_picture
from vultus.images.write import save_png
from vultus.standin.nuisance import sample_nuisance, without_accessories
from vultus.standin.personas import persona
from vultus.standin.render import render


@pytest.fixture(name="people", scope="module")
def draw_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two personas, three close pictures each."""
    root = tmp_path_factory.mktemp("people")
    for index in (31, 32):
        for k in range(3):
            rng = stream("tests.cli.faces", index, k)
            scene = without_accessories(sample_nuisance(rng, framing="close-up"))
            save_png(root / f"p{index}" / f"{k}.png", render(persona(index), scene).rgb)
    return root


def told(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, object]:
    assert main([*words, "--json"]) in (0, 1)
    out: dict[str, object] = json.loads(capsys.readouterr().out)
    return out


def test_inspect_draws_and_tells(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    words = ["faces", "inspect", str(people), str(tmp_path / "bad.png"), "--pack", "standin"]
    assert main([*words, "--out", str(tmp_path / "seen")]) == 1  # one file shows no face
    lines = capsys.readouterr().out.splitlines()
    assert sum(": ok, 1 face, size" in line for line in lines) >= 5
    assert sum("not a picture" in line for line in lines) == 1
    drawn = sorted((tmp_path / "seen").glob("*.png"))
    assert len(drawn) == 6 and {p.stem for p in drawn} >= {"0", "0-2"}
    assert load_picture(drawn[0]).rgb.shape[1] == 640
    row = told(capsys, [*words, "--out", str(tmp_path / "seen")])["pictures"][0]  # type: ignore[index]
    assert row["pose"]["by"] == "points" and row["faces"][0]["size_px"] > 16


def test_compare_tells_cosines_and_a_second_pack(
    people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = people / "p31", people / "p32"
    assert main(["faces", "compare", str(a / "0.png"), str(a / "1.png"), "--pack", "standin"]) == 0
    assert "0.png - 1.png: cosine" in capsys.readouterr().out
    words = ["faces", "compare", str(a), str(b), "--pack", "standin", "--second", "standin:b"]
    record = told(capsys, words)
    assert len(record["cosines"]) == 3 and len(record["leave_one_out"]) == 3  # type: ignore[arg-type]
    assert -1 <= record["disagreement"]["pearson"] <= 1  # type: ignore[index]
    assert max(record["to_centroid"]) < min(record["leave_one_out"])  # type: ignore[call-overload]


def test_verify_writes_tables_and_charts(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["faces", "verify", str(people), "--pack", "standin", "--out", str(tmp_path)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "6 genuine pairs" in out and "9 impostor pairs" in out and "EER" in out and "d'" in out
    assert {p.name for p in tmp_path.iterdir()} == {"pairs.csv", "histogram.svg", "errors.svg"}


def test_reference_is_cut_with_room(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["faces", "reference", str(people / "p31"), "--pack", "standin", "--out", str(tmp_path)]
    rows = told(capsys, words)["references"]
    assert len(rows) == 3  # type: ignore[arg-type]
    for row in rows:  # type: ignore[attr-defined]
        assert any(found["name"] == "size" for found in row["findings"])  # 128 px pictures
        rgb = load_picture(Path(row["cut"])).rgb
        assert abs(rgb.shape[0] - rgb.shape[1]) <= 1


def test_a_missing_folder_is_a_clear_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faces", "verify", "/no/such/list.csv", "--pack", "standin"]) == 2
    assert "vultus: /no/such/list.csv" in capsys.readouterr().err


def test_odd_names_stay_on_their_line_and_apart(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (people / "p31" / "0.png").read_bytes()
    for name in ("x/two\nlines.png", "x/a.png", "y/a.png", "z/a-2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "x" / "pipe.png")
    folders = [str(tmp_path / n) for n in "xyz"]
    words = ["faces", "inspect", *folders, "--pack", "standin", "--out", str(tmp_path / "seen")]
    assert main([*words, "--threads", "64"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert sum("two\\nlines.png: " in line for line in lines) == 1 and len(lines) == 5
    drawn = {path.name for path in (tmp_path / "seen").iterdir()}
    assert drawn == {"two_lines.png", "a.png", "a-2.png", "a-2-2.png"}


def test_what_cannot_be_read_or_written_is_one_fault_with_a_next_step(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    good = str(people / "p31" / "0.png")
    faults = {
        "holds no pictures": ["inspect", str(tmp_path / "empty")],
        "the folder holds no pictures": ["reference", str(tmp_path / "empty")],
        "no such file": ["inspect", str(tmp_path / "nowhere")],
        "there is no such file": ["compare", good, str(tmp_path / "nowhere")],
        "list of pairs": ["verify", str(tmp_path / "nowhere")],
        "0 people": ["verify", str(tmp_path / "empty")],
        "this is a file, not a folder": ["inspect", good, "--out", str(tmp_path / "file")],
    }
    for what, words in faults.items():
        assert main(["faces", *words, "--pack", "standin"]) == 2, words
        told = capsys.readouterr().err
        assert what in told and "  next: " in told, told
    for threads in ("0", "65", "99999"):
        assert main(["faces", "inspect", good, "--pack", "standin", "--threads", threads]) == 2
        assert f"--threads {threads} is outside 1..64" in capsys.readouterr().err


def test_no_more_threads_than_pictures(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def watched(pack: Pack, *, threads: int = 1) -> FaceEngine:
        opened.append(threads)
        return open_engine(pack, threads=threads)

    monkeypatch.setattr("vultus.faces.engines.open_engine", watched)
    words = ["--pack", "standin", "--threads", "60"]
    for verb, *places in (
        ("inspect", people / "p31"),
        ("compare", people / "p31" / "0.png", people / "p32"),
    ):
        out = [] if verb == "compare" else ["--out", str(tmp_path)]
        assert main(["faces", verb, *map(str, places), *words, *out]) in (0, 1)
    assert opened == [3, 3]


def test_figures_that_json_cannot_hold_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    """As d' of persons without any spread."""
    figures = {"d_prime": float("inf"), "tar": {0.01: 1.0}, "rows": [(float("nan"), 1)]}
    say(argparse.Namespace(json=True), {"figures": figures}, [])
    told = json.loads(capsys.readouterr().out)
    assert told == {"figures": {"d_prime": None, "tar": {"0.01": 1.0}, "rows": [[None, 1]]}}
