"""Files by what is in them: once, whole, forever, or told."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vultus.core.errors import DiskError, StoreError, TornBlobError
from vultus.core.keys import content_id, file_content_id
from vultus.store import blobs as module
from vultus.store.blobs import Blobs, is_stored_id

calm = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def folder_of(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    root.mkdir(exist_ok=True)
    return root


def files_in(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def stored(blobs: Blobs) -> int:
    return len(blobs.names())


@calm
@given(data=st.binary(max_size=3000))
def test_bytes_come_back_as_they_went(blobs: Blobs, data: bytes) -> None:
    name = blobs.put_bytes(data)
    assert name == content_id(data)
    assert blobs.read(name) == data
    assert blobs.path(name).read_bytes() == data
    assert blobs.has(name)


def test_bytes_and_file_of_the_same_content_are_one(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    (tmp_path / "b").write_bytes(b"same")
    names = {blobs.put_bytes(b"same"), *blobs.put_files([tmp_path / "a", tmp_path / "b"])}
    assert len(names) == stored(blobs) == 1


def test_a_stored_file_is_read_only_and_apart_from_its_source(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    name = blobs.put_file(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"two")
    assert blobs.read(name) == b"one"
    assert blobs.path(name).stat().st_mode & 0o222 == 0


@calm
@given(
    files=st.dictionaries(
        st.sampled_from(["a", "b.png", "deep/a", "deep/er/c", "é ü", "-x", "a\nb"]),
        st.binary(max_size=200),
        max_size=7,
    )
)
def test_a_folder_comes_back_as_it_went(
    blobs: Blobs, tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    place = tmp_path_factory.mktemp("folder")
    name = blobs.put_folder(folder_of(place / "in", files))
    assert name.startswith("tree:")
    assert blobs.has(name)
    back = blobs.materialise(name, place / "out")
    assert files_in(back) == files
    assert [inside for inside, _ in blobs.manifest(name)] == sorted(files, key=lambda f: Path(f))


def test_a_folders_name_says_what_is_in_it_and_nothing_else(blobs: Blobs, tmp_path: Path) -> None:
    first = blobs.put_folder(folder_of(tmp_path / "one", {"a": b"1", "b/c": b"2"}))
    second = blobs.put_folder(folder_of(tmp_path / "two", {"b/c": b"2", "a": b"1"}))
    moved = blobs.put_folder(folder_of(tmp_path / "three", {"a": b"2", "b/c": b"1"}))
    assert first == second != moved


def test_views_cost_no_room_and_stay_when_they_are_there(blobs: Blobs, tmp_path: Path) -> None:
    name = blobs.put_folder(folder_of(tmp_path / "in", {"a": b"1"}))
    view = blobs.materialise(name, tmp_path / "out")
    assert (view / "a").samefile(blobs.path(content_id(b"1")))
    (view / "mark").write_text("still the same folder")
    assert blobs.materialise(name, tmp_path / "out") == view
    assert (view / "mark").exists()


def test_a_disk_without_hard_links_gets_copies(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    name = blobs.put_bytes(b"data")
    view = blobs.materialise(name, tmp_path / "view.bin")
    assert view.read_bytes() == b"data"
    assert not view.samefile(blobs.path(name))


def test_many_files_are_stored_within_the_limit_of_open_files(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_FILES", 16)
    paths = []
    for n in range(150):
        paths.append(tmp_path / f"{n}.txt")
        paths[-1].write_text(str(n))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 60, hard))
    try:
        names = blobs.put_files(paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(set(names)) == stored(blobs) == 150
    assert [blobs.read(name).decode() for name in names] == [str(n) for n in range(150)]


def test_a_file_that_changes_while_it_is_stored_gets_the_name_of_its_copy(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def then_change(asked: Path) -> str:
        name = file_content_id(asked)
        path.write_bytes(b"after")
        return name

    monkeypatch.setattr(module, "file_content_id", then_change)
    name = blobs.put_file(path)
    assert name == content_id(b"after")
    assert blobs.read(name) == b"after"
    monkeypatch.undo()
    assert blobs.verify() == []


def test_links_in_a_folder_are_refused(blobs: Blobs, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"a": b"1"})
    (tmp_path / "in" / "b").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="cannot hold links"):
        blobs.put_folder(tmp_path / "in")
    assert stored(blobs) == 0


def test_altered_bytes_are_told(blobs: Blobs) -> None:
    good, bad = blobs.put_bytes(b"good"), blobs.put_bytes(b"bad")
    place = blobs.path(bad)
    place.chmod(0o644)
    place.write_bytes(b"worse")
    with pytest.raises(TornBlobError, match="not what was stored") as caught:
        blobs.read(bad)
    assert caught.value.next_command
    faults = blobs.verify()
    assert [fault.where for fault in faults] == [str(place)]
    assert blobs.read(good) == b"good"


def test_missing_files_are_told(blobs: Blobs, tmp_path: Path) -> None:
    tree = blobs.put_folder(folder_of(tmp_path / "in", {"a": b"1"}))
    part = content_id(b"1")
    blobs.path(part).unlink()
    assert not blobs.has(part)
    assert not blobs.has(tree)
    with pytest.raises(TornBlobError, match="is missing"):
        blobs.path(part)
    with pytest.raises(TornBlobError, match="is missing"):
        blobs.materialise(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not blobs.has(content_id(b"never"))


@pytest.mark.parametrize("odd", ["../up", "/etc/passwd", "a/../../up"])
def test_a_manifest_never_leads_outside(blobs: Blobs, tmp_path: Path, odd: str) -> None:
    import json

    part = blobs.put_bytes(b"1")
    manifest = blobs.put_bytes(json.dumps({"files": [[odd, part]]}).encode())
    with pytest.raises(TornBlobError, match="outside its folder"):
        blobs.materialise("tree:" + manifest.removeprefix("sha256:"), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blobs"]


def test_only_what_nobody_needs_is_swept(blobs: Blobs, tmp_path: Path) -> None:
    kept = blobs.put_bytes(b"kept")
    tree = blobs.put_folder(folder_of(tmp_path / "in", {"a": b"in a tree"}))
    dead = blobs.put_bytes(b"dead")
    (blobs.root / "incoming" / ".x.staged").write_text("left by a killed writer")
    assert blobs.dead({kept}, {tree, "sha256:" + "0" * 64}) == [(dead, 4)]
    assert blobs.remove([dead]) == 2
    assert blobs.has(kept)
    assert blobs.has(tree)
    assert not blobs.has(dead)
    assert stored(blobs) == 3
    assert list((blobs.root / "incoming").iterdir()) == []


def test_without_a_manifest_nobody_can_say_what_is_dead(blobs: Blobs, tmp_path: Path) -> None:
    tree = blobs.put_folder(folder_of(tmp_path / "in", {"a": b"in a tree"}))
    manifest = blobs.path("sha256:" + tree.removeprefix("tree:"))
    manifest.chmod(0o644)
    manifest.unlink()
    with pytest.raises(TornBlobError):
        blobs.dead({tree})


def test_a_full_disk_leaves_nothing_behind(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copied", full)
    with pytest.raises(DiskError, match="disk is full"):
        blobs.put_file(tmp_path / "a")
    assert stored(blobs) == 0
    assert list((blobs.root / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("sha256:" + "0" * 64, True),
        ("tree:" + "f" * 64, True),
        ("tree:sha256:" + "0" * 64, False),
        ("sha256:tree:" + "0" * 64, False),
        ("0" * 64, False),
        ("", False),
    ],
)
def test_what_a_stored_id_looks_like(blobs: Blobs, text: str, is_one: bool) -> None:
    assert is_stored_id(text) is is_one
    if not is_one:
        with pytest.raises(ValueError, match="not a content id"):
            blobs.has(text)


def test_a_folder_has_no_single_path(blobs: Blobs, tmp_path: Path) -> None:
    tree = blobs.put_folder(folder_of(tmp_path / "in", {"a": b"1"}))
    with pytest.raises(ValueError, match="use materialise"):
        blobs.path(tree)
