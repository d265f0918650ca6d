"""What is installed is told by RECORD hashes: the same everywhere, and any changed file is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.tools.wheels import make_wheel
from vultus.tools.installed import check_files, packages_digest, packages_in, sites


def site_with(folder: Path, *names: str) -> Path:
    """A site-packages folder with tiny packages, as an installer unpacks them."""
    site = folder / "site-packages"
    for name in names:
        wheel = make_wheel(folder / "wheels", name, "1.0", f"name = {name!r}\n")
        shutil.unpack_archive(wheel, site, "zip")
    return site


def test_equal_files_have_one_name_wherever_they_lie(tmp_path: Path) -> None:
    one, other = site_with(tmp_path / "a", "x", "y"), site_with(tmp_path / "b", "x", "y")
    record = other / "x-1.0.dist-info" / "RECORD"
    with record.open(
        "a"
    ) as file:  # what tells only of the place: scripts, the installer's name, .pyc
        file.write("../../../bin/x,sha256=AAAA,1\nx-1.0.dist-info/INSTALLER,sha256=BBBB,2\n")
        file.write("__pycache__/x.pyc,sha256=CCCC,1\n")
    assert [p.name for p in packages_in(one)] == ["x", "y"]
    assert packages_digest([one]) == packages_digest([other])
    assert packages_digest([one]) != packages_digest([site_with(tmp_path / "c", "x")])


def test_a_changed_and_a_missing_file_are_found_cold_and_warm(tmp_path: Path) -> None:
    site = site_with(tmp_path, "x", "y")
    memory = tmp_path / "sound.json"
    assert check_files([site], memory) == (6, []) and memory.is_file()
    assert check_files([site], memory) == (6, [])
    (site / "x.py").write_text("name = 'z'\n")
    (site / "y.py").unlink()
    for _ in range(2):  # what is not sound is never remembered as sound
        looked, altered = check_files([site], memory)
        assert looked == 6
        assert {(one.path.name, one.what) for one in altered} == {
            ("x.py", "was changed"),
            ("y.py", "is missing"),
        }


def test_deep_looks_at_bytes_that_look_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    site = site_with(tmp_path, "x")
    memory = tmp_path / "sound.json"
    check_files([site], memory)
    module = site / "x.py"
    state = module.stat()
    module.write_text("name = 'w'\n")  # the same length, and the time set back
    os.utime(module, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert check_files([site], memory)[1] == []
    assert [one.path.name for one in check_files([site], memory, deep=True)[1]] == ["x.py"]


def test_this_environment_is_read() -> None:
    names = {p.name for site in sites() for p in packages_in(site)}
    assert {"numpy", "torch", "pillow"} <= names
    assert len(packages_digest(sites())) == 64
