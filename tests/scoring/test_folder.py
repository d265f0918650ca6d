"""Folders are scored honestly: planted people are told apart, and what cannot be said is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from vultus.cli.main import main
from vultus.core.errors import ScoreError
from vultus.core.progress import Progress
from vultus.faces.engines.fake import FakeEngine, Planted, fake_pack, plant
from vultus.faces.packs import write_pack
from vultus.faces.records import State
from vultus.images.write import save_png
from vultus.reports.folder import folder_report
from vultus.scoring.folder import score_folders
from vultus.scoring.records import GateSpec

ENGINE = FakeEngine(fake_pack())
SHARED = Path(
    os.environ.get("VULTUS_SHARED") or Path(__file__).resolve().parents[2] / "../shared"
).resolve()


def fill(
    folder: Path,
    who: int,
    count: int,
    *,
    likeness: float = 0.8,
    first: int = 0,
    state: State = "ok",
) -> Path:
    """Pictures of one planted person; every picture has its own noise and its own bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        seed = who * 1000 + i
        rgb = np.full((96, 96, 3), 40 + i % 200, np.uint8)
        planted = Planted(who, likeness, state, noise_seed=seed)
        save_png(folder / f"{who}_{i:03d}_{state}.png", plant(rgb, planted), xmp_ai=False)
    return folder


def crowd(folder: Path, count: int) -> Path:
    for who in range(100, 100 + count):
        fill(folder, who, 1)
    return folder


def test_planted_people_are_told_apart(tmp_path: Path) -> None:
    references = fill(tmp_path / "ada", 1, 14)
    impostors = crowd(tmp_path / "crowd", 30)
    same = fill(tmp_path / "same", 1, 10, first=50)
    other = fill(tmp_path / "other", 2, 10)
    found = score_folders(ENGINE, references, same, [impostors])
    assert found.score is not None and found.refused == ()
    # 14 and 13 references make nearly the same centroid, so a fresh picture of ada scores 10.
    assert found.score.m10.value == pytest.approx(10.0, abs=0.8)
    stranger = score_folders(ENGINE, references, other, [impostors])
    assert stranger.score is not None
    assert abs(stranger.score.m10.value) < 1.5
    assert stranger.score.m10.high < found.score.m10.low
    assert {p.state for p in found.pictures} == {"ok"} and len(found.pictures) == 10


def test_without_impostors_there_is_no_zero_and_no_m10(tmp_path: Path) -> None:
    found = score_folders(
        ENGINE, fill(tmp_path / "ada", 1, 14), fill(tmp_path / "new", 1, 6, first=50)
    )
    assert found.score is None and "no impostors" in found.refused[0]
    assert found.cosine is not None and found.share is not None
    # Planted: cosine of one picture to a centroid of 14 is 0.8 * 0.8 / sqrt(0.8^2 + 0.6^2 / 14).
    assert found.cosine.value == pytest.approx(0.64 / np.sqrt(0.64 + 0.36 / 14), abs=0.06)
    assert found.share.low <= 1.0 <= found.share.high
    assert all(picture.points is None for picture in found.pictures)


def test_strangers_among_the_references_are_named(tmp_path: Path) -> None:
    """Two of another person among 14: they lower the 10, so whoever is scored looks better than he is."""
    references = fill(tmp_path / "ada", 1, 14)
    impostors, same = crowd(tmp_path / "crowd", 30), fill(tmp_path / "same", 1, 10, first=50)
    assert score_folders(ENGINE, references, same, [impostors]).odd == ()
    fill(references, 2, 2)
    found = score_folders(ENGINE, references, same, [impostors])
    assert [one.path.name for one in found.odd] == ["2_000_ok.png", "2_001_ok.png"]
    report = folder_report(found, references="ada", pictures="same", gate=GateSpec())
    (said,) = [words for words in report.verdict.sentences if "somebody else" in words]
    assert said.startswith("2 of 16 references") and "2_000_ok.png, 2_001_ok.png" in said


def test_every_file_counts_in_the_progress(tmp_path: Path) -> None:
    references, same = fill(tmp_path / "ada", 1, 12), fill(tmp_path / "same", 1, 3, first=50)
    (same / "twice.png").write_bytes((same / "1_050_ok.png").read_bytes())
    (same / "broken.png").write_bytes(b"no picture")
    with Progress(17, "reading", quiet=True) as progress:
        score_folders(ENGINE, references, same, progress=progress)
        assert progress.done == 17


def test_too_few_references_refuse_m10_but_still_tell_cosines(tmp_path: Path) -> None:
    found = score_folders(
        ENGINE,
        fill(tmp_path / "ada", 1, 5),
        fill(tmp_path / "new", 1, 6, first=50),
        [crowd(tmp_path / "crowd", 12)],
    )
    assert found.score is None and "5 references" in found.refused[0]
    assert all(picture.cosine is not None for picture in found.pictures)
    assert len(found.impostors) == 12


def test_missing_faces_count_and_unclear_references_are_no_anchors(tmp_path: Path) -> None:
    references = fill(tmp_path / "ada", 1, 13)
    fill(references, 1, 4, first=30, state="blurred")
    pictures = fill(tmp_path / "new", 1, 6, first=50)
    fill(pictures, 1, 6, first=70, state="none")
    fill(pictures, 1, 1, first=90, state="blurred")
    found = score_folders(ENGINE, references, pictures, [crowd(tmp_path / "crowd", 20)])
    assert found.yardstick is not None and found.score is not None
    assert len(found.yardstick.references) == 13
    assert (found.misses, found.score.misses, found.score.n_renders) == (6, 6, 13)
    assert found.score.m10.value == pytest.approx(10 * 7 / 13, abs=0.8)


def test_a_reference_never_scores_itself_nor_is_anybody_his_own_stranger(tmp_path: Path) -> None:
    everybody = tmp_path / "all"
    references = fill(everybody / "ada", 1, 14)
    pictures = fill(tmp_path / "new", 1, 4, first=50)
    crowd(everybody / "crowd", 10)
    found = score_folders(ENGINE, references, pictures, [everybody])
    assert len(found.impostors) == 10 and found.score is not None
    mixed = fill(tmp_path / "mixed", 1, 3, first=12)
    assert score_folders(ENGINE, references, mixed, [everybody]).refused == (
        "2 of the pictures are references themselves",
    )


def test_folders_that_say_nothing_are_one_clear_error(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "new", 1, 2)
    faceless = fill(tmp_path / "faceless", 1, 3, state="none")
    with pytest.raises(ScoreError, match="0 of 3 references") as refusal:
        score_folders(ENGINE, faceless, pictures)
    assert refusal.value.next_command
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScoreError, match="no picture to score"):
        score_folders(ENGINE, pictures, tmp_path / "empty")


def test_unreadable_files_are_named_and_skipped(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "new", 1, 3, first=50)
    (pictures / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    found = score_folders(ENGINE, fill(tmp_path / "ada", 1, 4), pictures)
    assert len(found.pictures) == 3
    assert [fault.path.name for fault in found.faults] == ["torn.png"]


def test_the_command_writes_a_report_and_speaks_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    write_pack(pack, fake_pack().spec)
    fill(tmp_path / "ada", 1, 14)
    fill(tmp_path / "new", 1, 10, first=50)
    crowd(tmp_path / "crowd", 20)
    words = ["score", "--pack", str(pack), "--references", str(tmp_path / "ada")]
    words += ["--pictures", str(tmp_path / "new"), "--report", str(tmp_path / "out.html")]
    assert main([*words, "--impostors", str(tmp_path / "crowd"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["answer"] == "yes" and record["m10"]["value"] > 8
    assert len(record["pictures"]) == 10 and record["refused"] == []
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "Certified" in page and page.count("data:image/jpeg") >= 24
    assert main(words) == 0
    assert "No score from 0 to 10." in capsys.readouterr().out
    assert main([*words, "--bar", "11"]) == 2
    assert main([*words[:4], str(tmp_path / "nowhere"), *words[5:]]) == 2
    assert "there is no such folder" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.slow
def test_real_photographs_are_scored_with_the_free_pack(tmp_path: Path) -> None:
    photos = SHARED / "photos" / "us_gov_public_domain"
    if not photos.is_dir():
        pytest.skip(f"the shared photographs are absent: {photos}")
    from vultus.faces.engines import open_engine
    from vultus.faces.packs import find_pack

    references, pictures = tmp_path / "a", tmp_path / "b"
    names = {references: ("obama.jpg", "obama2.jpg"), pictures: ("obama3.jpg", "biden.jpg")}
    for folder, files in names.items():
        folder.mkdir()
        for file in files:
            (folder / file).write_bytes((photos / file).read_bytes())
    engine = open_engine(find_pack("free", folder=SHARED / "models"))
    found = score_folders(engine, references, pictures)
    cosine = {picture.path.name: picture.cosine for picture in found.pictures}
    # reference "faces", section 6: same person 0.717-0.787 pair by pair, others below 0.1.
    assert cosine["obama3.jpg"] is not None and cosine["obama3.jpg"] > 0.7
    assert cosine["biden.jpg"] is not None and cosine["biden.jpg"] < 0.2
    assert found.score is None and len(found.refused) == 2
