"""Nobody ever sees half a file, and the disk's refusals become sentences."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vultus.core import files
from vultus.core.errors import DiskError
from vultus.core.files import (
    disk_errors,
    drafted,
    files_below,
    flush_all,
    staged,
    staged_folder,
    sweep_leftovers,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "a.bin"
    with staged(target) as draft:
        draft.write_bytes(b"half")
        assert not target.exists()
        draft.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert names(target.parent) == ["a.bin"]


def test_a_broken_off_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="broke off"), staged(target) as draft:
        draft.write_text("new")
        raise RuntimeError("broke off")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_draft_keeps_the_suffix_and_lies_beside(tmp_path: Path) -> None:
    with staged(tmp_path / "lora.safetensors") as draft:
        assert draft.suffix == ".safetensors"
        assert draft.parent == tmp_path
        assert draft.name.startswith(".")


def test_a_library_may_replace_the_draft(tmp_path: Path) -> None:
    with staged(tmp_path / "a.bin") as draft:
        other = tmp_path / "other"
        other.write_bytes(b"made elsewhere")
        other.rename(draft)
    assert (tmp_path / "a.bin").read_bytes() == b"made elsewhere"


def test_text_and_json_are_plain(tmp_path: Path) -> None:
    write_text(tmp_path / "t", "é\n")
    assert (tmp_path / "t").read_bytes() == "é\n".encode()
    write_json(tmp_path / "j", {"b": 1, "a": ["é"]})
    text = (tmp_path / "j").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert text.index('"a"') < text.index('"b"')
    assert json.loads(text) == {"a": ["é"], "b": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "j", float("nan"))
    assert json.loads((tmp_path / "j").read_text()) == {"a": ["é"], "b": 1}


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "f") as draft:
        (draft / "in").mkdir()
        (draft / "in" / "a").write_text("1")
        assert names(tmp_path) == [draft.name]
    assert (tmp_path / "f" / "in" / "a").read_text() == "1"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("flush", [True, False])
def test_of_two_folders_the_first_wins(tmp_path: Path, flush: bool) -> None:
    with staged_folder(tmp_path / "f", flush=flush) as second:
        (second / "a").write_text("second")
        with staged_folder(tmp_path / "f", flush=flush) as first:
            (first / "a").write_text("first")
    assert (tmp_path / "f" / "a").read_text() == "first"
    assert names(tmp_path) == ["f"]


def test_a_broken_off_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "f") as draft:
        (draft / "a").write_text("1")
        raise RuntimeError("broke off")
    assert names(tmp_path) == []


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from vultus.core.files import staged, staged_folder
with staged(Path(sys.argv[1]) / "a.png") as draft:
    draft.write_bytes(b"half")
    with staged_folder(Path(sys.argv[1]) / "sub" / "f") as folder:
        (folder / "b").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED_WRITER, str(tmp_path)]
    subprocess.run(words, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert len(names(tmp_path)) == 2
    assert sweep_leftovers(tmp_path) == 1
    assert names(tmp_path) == ["sub"]
    assert sweep_leftovers(tmp_path, deep=True) == 1
    assert names(tmp_path / "sub") == []
    assert sweep_leftovers(tmp_path / "none") == 0


def test_a_living_writers_draft_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("not a draft")
    with staged(tmp_path / "a.txt") as draft:
        draft.write_text("x")
        assert sweep_leftovers(tmp_path) == 0
        assert draft.exists()
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    texts = [str(n) * 50_000 for n in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in texts
    assert names(tmp_path) == ["a"]


def test_a_draft_goes_when_it_is_not_kept(tmp_path: Path) -> None:
    with drafted(tmp_path, ".bin") as draft:
        assert draft.exists()
    assert names(tmp_path) == []


def test_a_draft_that_is_swept_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    swept: list[int] = []

    def flock(handle: int, mode: int) -> None:
        if not swept and not mode & fcntl.LOCK_NB:
            swept.append(0)
            swept[0] = sweep_leftovers(tmp_path)  # comes between the making and the lock
        real(handle, mode)

    monkeypatch.setattr(fcntl, "flock", flock)
    write_text(tmp_path / "a", "whole")
    swept_file = swept.copy()
    swept.clear()
    with staged_folder(tmp_path / "f") as draft:
        (draft / "b").write_text("whole")
    assert swept_file == swept == [1]
    assert names(tmp_path) == ["a", "f"]
    assert (tmp_path / "f" / "b").read_text() == "whole"


def test_a_draft_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), drafted(tmp_path / "none"):
        raise AssertionError("made in a folder that is not there")


def test_flushing_many_reaches_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / str(n) for n in range(20)]
    for path in paths:
        path.write_text("x")
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    flush_all([*paths, tmp_path])
    assert len(flushed) == 21


def test_the_bytes_are_flushed_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_flush, real_replace = files._flush, Path.replace

    def flush(path: Path) -> None:
        order.append(f"flush {path.is_dir()}")
        real_flush(path)

    def replace(path: Path, target: Path) -> Path:
        order.append("replace")
        return real_replace(path, target)

    monkeypatch.setattr(files, "_flush", flush)
    monkeypatch.setattr(Path, "replace", replace)
    write_bytes(tmp_path / "a", b"x")
    assert order == ["flush False", "replace", "flush True"]


@pytest.mark.parametrize(
    ("fault", "says", "then"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full", "free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk is full", "free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only", "choose another folder"),
        (OSError(errno.EACCES, "Permission denied"), "permission denied", "choose another"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error", ""),
        # How safetensors (Rust) and OpenCV-like libraries tell it, without an errno:
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk is full", "free"),
    ],
)
def test_the_disks_refusals_become_sentences(
    tmp_path: Path, fault: Exception, says: str, then: str
) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(DiskError) as caught, staged(tmp_path / "a") as draft:
        draft.write_text("new")
        raise fault
    assert says in str(caught.value)
    assert then in caught.value.next_command
    assert str(tmp_path) in caught.value.where
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_really_full_device_is_told(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, the device that is always full (Linux)")
    with pytest.raises(DiskError, match="disk is full"), disk_errors(tmp_path):
        Path("/dev/full").write_bytes(b"x" * 100)


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    write_text(tmp_path / "reports", "a file")
    with pytest.raises(DiskError) as caught:
        write_text(tmp_path / "reports" / "a.html", "x")
    assert "reports" in caught.value.where


def test_other_faults_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "none").read_bytes()
    with pytest.raises(KeyError), disk_errors(tmp_path):
        raise KeyError("x")


def test_files_below_follows_linked_folders_and_ends_in_a_loop(tmp_path: Path) -> None:
    part, base = tmp_path / "plain" / "vae", tmp_path / "soft"
    part.mkdir(parents=True)
    base.mkdir()
    (part / "weights").write_bytes(b"1")
    (base / "config").write_bytes(b"2")
    (base / "vae").symlink_to(part)
    (part / "up").symlink_to(base)
    (base / "gone").symlink_to(tmp_path / "nowhere")
    found = [file.relative_to(base).as_posix() for file in files_below(base)]
    assert found == ["config", "vae/weights"]
    assert files_below(base / "config") == [base / "config"]


def test_names_that_are_no_text_are_written_as_escapes_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_json(tmp_path / "row.json", {"name": name})
    assert json.loads((tmp_path / "row.json").read_text(encoding="utf-8")) == {"name": name}
    write_text(tmp_path / "page.html", f"<p>{name}</p>")
    assert (tmp_path / "page.html").read_bytes() == b"<p>caf\\udce9.png</p>"
