"""Bad input is one clear error each: what happened, what was expected, what to do next; exit code 2, no traceback.

Every case goes through the command line, as a user meets it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vultus.cli.main import main
from vultus.faces.engines.fake import Planted
from vultus.testing.planted import PERSONA, make_picture, make_pictures, make_workspace

BOX = (8.0, 8.0, 40.0, 40.0)


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "ada", pictures=0)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Run a command that must be refused; its lines on stderr, progress left out."""
    assert main([*words, "--quiet"]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert lines[0].startswith("vultus: ")
    return lines


def one_error(lines: list[str]) -> str:
    """The text of the only error, which says what to do next."""
    assert sum(line.startswith("vultus: ") for line in lines) == 1, lines
    assert any(line.strip().startswith(("next:", "1 fault.")) for line in lines), lines
    return "\n".join(lines)


def test_an_empty_folder(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ada / "pictures").mkdir()
    assert "the folder holds no pictures" in one_error(refused(capsys, "run", str(ada)))


def test_no_pictures_folder(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder of pictures" in one_error(refused(capsys, "run", str(ada)))


def test_three_pictures(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pictures(ada / "pictures", 3)
    told = one_error(refused(capsys, "run", str(ada)))
    assert "only 3 pictures" in told and "at least 18" in told
    assert not (ada / ".vultus").exists(), "nothing was started"


def test_pictures_without_faces(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(18):
        make_picture(ada / "pictures" / f"{i:02d}.png", None, f"landscape {i}")
    told = one_error(refused(capsys, "run", str(ada)))
    assert "no face was found in any of the 18 pictures" in told
    assert 'vultus models fetch free, then face_pack = "free"' in told


def test_corrupt_files_only(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ada / "pictures").mkdir()
    for i in range(18):
        (ada / "pictures" / f"{i:02d}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([i]) * 50)
    told = one_error(refused(capsys, "run", str(ada)))
    assert "none of the 18 files can be opened" in told and "00.jpg" in told


def test_too_few_are_left_after_curation(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pictures(ada / "pictures", 10)
    for i in range(10):
        (ada / "pictures" / f"torn{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    told = one_error(refused(capsys, "run", str(ada)))
    assert "only 10 usable pictures" in told and "at least 18" in told


def test_faces_that_are_all_different_people(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(20):
        make_picture(
            ada / "pictures" / f"{i:02d}.png", Planted(500 + i, 0.95, "ok", BOX, i), f"x{i}"
        )
    told = one_error(refused(capsys, "run", str(ada)))
    assert "do not show one person" in told


def test_an_unknown_key_is_told_with_the_nearest(
    ada: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(ada / "pictures", 18)
    plan = (ada / "vultus.toml").read_text(encoding="utf-8")
    (ada / "vultus.toml").write_text(
        plan.replace("checkpoints = 4", "checkpoint = 4"), encoding="utf-8"
    )
    told = one_error(refused(capsys, "run", str(ada)))
    assert "checkpoint" in told and 'did you mean "checkpoints"' in told


def test_many_faults_are_told_at_once(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = (ada / "vultus.toml").read_text(encoding="utf-8")
    plan = plan.replace("checkpoints = 4", "checkpoint = 4").replace(
        "seeds = [11, 12]", 'seeds = "11"'
    )
    (ada / "vultus.toml").write_text(plan, encoding="utf-8")
    persona = (ada / "persona.toml").read_text(encoding="utf-8")
    (ada / "persona.toml").write_text(
        persona.replace("adult = true", "adult = false"), encoding="utf-8"
    )
    lines = refused(capsys, "run", str(ada))
    assert sum(line.startswith("vultus: ") for line in lines) == 3
    assert "3 faults. Nothing was started." in lines[-1]


def test_broken_toml(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ada / "vultus.toml").write_text("bases = [", encoding="utf-8")
    assert "vultus.toml" in one_error(refused(capsys, "run", str(ada)))


def test_no_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = refused(capsys, "run", str(tmp_path / "nowhere"))
    assert "vultus init" in lines[-1]


def test_an_unknown_face_pack(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pictures(ada / "pictures", 18)
    plan = (ada / "vultus.toml").read_text(encoding="utf-8")
    (ada / "vultus.toml").write_text(plan.replace('"pack"', '"standing"'), encoding="utf-8")
    assert "no face pack 'standing'" in one_error(refused(capsys, "run", str(ada)))


@pytest.mark.parametrize("wrong", ["lora", "text", "torn", "pickle", "folder", "missing"])
def test_a_wrong_checkpoint_file(ada: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.numpy import save_file

    make_pictures(ada / "pictures", 18)
    shutil.rmtree(ada / "plain")
    name = {"pickle": "plain.ckpt", "folder": "plain", "missing": "plain.safetensors"}.get(
        wrong, "plain.safetensors"
    )
    plan = (ada / "vultus.toml").read_text(encoding="utf-8")
    (ada / "vultus.toml").write_text(plan.replace('"plain"', f'"{name}"'), encoding="utf-8")
    if wrong == "lora":
        save_file({"a.lora_down.weight": np.zeros((2, 2))}, str(ada / name))
    elif wrong == "text":
        (ada / name).write_text("this is not a checkpoint", encoding="utf-8")
    elif wrong == "torn":
        save_file({"model.diffusion_model.x": np.zeros(500)}, str(ada / name))
        (ada / name).write_bytes((ada / name).read_bytes()[:900])
    elif wrong == "pickle":
        (ada / name).write_bytes(b"\x80\x04.")
    elif wrong == "folder":
        (ada / name).mkdir()
    told = one_error(refused(capsys, "run", str(ada)))
    assert name in told
    assert not (ada / ".vultus" / "ledger.sqlite").exists(), "refused before any work"


def test_json_errors_are_json(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(ada), "--json", "--quiet"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["error"] == "DatasetError" and said["lines"]


IN_A_SMALL_PLACE = """
set -e
mount -t tmpfs -o size={size} none "$1"
cp -r "$2"/. "$1"
{after}
exec "$3" -m vultus run "$1" --quiet
"""


def _in_a_small_place(
    tmp_path: Path, source: Path, size: str, after: str
) -> subprocess.CompletedProcess[str]:
    """Run a workspace on a file system of its own, in a namespace that ends with the command."""
    place = tmp_path / "place"
    place.mkdir()
    script = IN_A_SMALL_PLACE.format(size=size, after=after)
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    try:
        probe = subprocess.run(
            [
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "mount",
                "-t",
                "tmpfs",
                "none",
                str(place),
            ],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("no `unshare` here: a disk cannot be made small or read-only for one process")
    if probe.returncode:
        pytest.skip(f"no mount in a user namespace here: {probe.stderr.decode().strip()}")
    return subprocess.run(
        [*command, str(place), str(source), sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )


def _assert_one_disk_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("vultus: ") for line in done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_full_disk(tmp_path: Path, ada: Path) -> None:
    make_pictures(ada / "pictures", 18)
    filled = 'dd if=/dev/zero of="$1/filler" bs=1k count=100000 2>/dev/null || true; rm -f "$1/pictures/p000.txt"'
    told = _assert_one_disk_error(_in_a_small_place(tmp_path, ada, "900k", filled))
    assert "the disk is full" in told and "next: free some space" in told


def test_a_read_only_folder(tmp_path: Path, ada: Path) -> None:
    make_pictures(ada / "pictures", 18)
    told = _assert_one_disk_error(
        _in_a_small_place(tmp_path, ada, "4m", 'mount -o remount,ro "$1"')
    )
    assert "read-only" in told and "next:" in told


def test_a_broken_picture_among_good_ones_is_told_and_passed_over(
    ada: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(ada / "pictures", 18)
    make_picture(ada / "pictures" / "q.png", Planted(PERSONA, 0.95, "ok", BOX, 99), "q")
    (ada / "pictures" / "r.png").write_bytes((ada / "pictures" / "q.png").read_bytes()[:200])
    assert main(["dataset", "check", str(ada), "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [drop["name"] for drop in said["dropped"]] == ["r.png"]
    assert said["dropped"][0]["reason"] == "unreadable"
