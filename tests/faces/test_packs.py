"""A pack is whole, unaltered and unambiguous, or it is not opened."""

from __future__ import annotations

import importlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faces.planted_nets import planted_pack
from vultus.core.errors import PackError
from vultus.faces import packs
from vultus.faces.packs import Pack, find_pack, load_pack, model_folders


@pytest.fixture(name="pack")
def make_pack(tmp_path: Path) -> Pack:
    return planted_pack(tmp_path / "planted")


def edit(pack: Pack, old: str, new: str) -> Path:
    toml = pack.folder / "pack.toml"
    text = toml.read_text()
    assert old in text
    toml.write_text(text.replace(old, new))
    return pack.folder


def test_what_is_written_is_what_is_read(pack: Pack) -> None:
    again = load_pack(pack.folder)
    assert again == pack
    assert again.name == "planted" and again.licence == "Apache-2.0"
    assert again.recogniser.origin == "corner" and len(again.recogniser.template_px) == 5
    assert len(again.detector.sha256) == 64
    assert again.digest.startswith("sha256:") and len(again.digest) == 71


def test_the_digest_moves_with_everything_that_moves_a_vector(pack: Pack, tmp_path: Path) -> None:
    edits = [
        ('channels = "rgb"', 'channels = "bgr"'),
        ("flip = false", "flip = true"),
        ("subtract = 127.5", "subtract = 127.0"),
        ('origin = "corner"', 'origin = "centre"'),
        ("[20.0, 20.0]", "[20.0, 20.1]"),
        ("two_pass = true", "two_pass = false"),
        ("min_face_px = 8.0", "min_face_px = 9.0"),
        ("fill = 128", "fill = 0"),
        ("first_pass_px = [320, 640]", "first_pass_px = [320]"),
        ('"eye_left", "eye_right"', '"eye_right", "eye_left"'),
        ("max_yaw_deg = 90.0", "max_yaw_deg = 80.0"),
    ]
    digests = {pack.digest, pack.choose("b").digest}
    for i, (old, new) in enumerate(edits):
        copy = Path(shutil.copytree(pack.folder, tmp_path / str(i)))
        digests.add(load_pack(edit(replace(pack, folder=copy), old, new)).digest)
    assert len(digests) == len(edits) + 2
    copy = Path(shutil.copytree(pack.folder, tmp_path / "told"))
    renamed = edit(replace(pack, folder=copy), 'licence = "Apache-2.0"', 'licence = "MIT"')
    assert load_pack(renamed).digest == pack.digest


def test_the_digest_follows_the_bytes_of_the_net_not_its_name(pack: Pack) -> None:
    before = pack.choose("b").digest
    (pack.folder / "recogniser_b.onnx").rename(pack.folder / "renamed.onnx")
    edit(pack, "recogniser_b.onnx", "renamed.onnx")
    assert load_pack(pack.folder).choose("b").digest == before


def test_an_altered_file_is_refused(pack: Pack) -> None:
    with (pack.folder / "recogniser_a.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(PackError, match=r"recogniser_a\.onnx is not the file of pack planted"):
        load_pack(pack.folder)


def test_a_missing_file_is_named(pack: Pack) -> None:
    (pack.folder / "landmarks.onnx").unlink()
    with pytest.raises(PackError, match=r"lacks landmarks\.onnx"):
        load_pack(pack.folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('judge = "a"', 'judge = "c"', "judge 'c' is not one of: a, b"),
        ('kind = "standin"', 'kind = "standing"', "standin"),
        ("size_px = 56", "sise_px = 56", "size_px"),
        ('file = "recogniser_a.onnx"', 'file = "../recogniser_a.onnx"', "inside the pack's folder"),
        ("template_px = [[", "template_px = [[1.0, 2.0], [", "five points"),
        ("divide = 127.5", "divide = 0.0", "divide"),
        ('"eye_left", "eye_right"', '"eye_left", "eye_left"', "each of eye_left"),
        ("first_pass_px = [320, 640]", "first_pass_px = [8]", "sides of 16 px"),
        ('file = "recogniser_a.onnx"', 'file = "recogniser_a.xml"', "needs its .bin"),
    ],
)
def test_faults_of_pack_toml_are_told(pack: Pack, old: str, new: str, words: str) -> None:
    with pytest.raises(PackError) as caught:
        load_pack(edit(pack, old, new))
    assert words in str(caught.value)
    assert "pack.toml" in caught.value.where


def test_folders_that_are_no_packs(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"no pack\.toml"):
        load_pack(tmp_path)
    with pytest.raises(PackError, match="no such folder"):
        load_pack(tmp_path / "nowhere")


def test_packs_are_found_by_name_and_by_folder(pack: Pack) -> None:
    assert find_pack(pack.folder).digest == pack.digest
    other = find_pack(f"{pack.folder}:b")
    assert other.name == "planted:b" and other.digest == pack.choose("b").digest
    with pytest.raises(PackError, match="no recogniser 'z'"):
        find_pack(f"{pack.folder}:z")
    with pytest.raises(PackError, match="did you mean 'standin'"):
        find_pack("standing")


def test_the_free_pack_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULTUS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("VULTUS_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("VULTUS_HOME", raising=False)
    assert model_folders() == (
        tmp_path / "models",
        tmp_path / "data" / "vultus" / "models",
        tmp_path / "shared" / "models",
    )
    with pytest.raises(PackError, match="were not found") as caught:
        find_pack("free")
    assert "VULTUS_MODELS" in caught.value.next_command
    (tmp_path / "models" / "detector").mkdir(parents=True)
    (tmp_path / "models" / "detector" / "yunet_n_640_640.onnx").write_bytes(b"x")
    with pytest.raises(PackError, match="lacks recogniser"):
        find_pack("free", folder=tmp_path / "models")


def test_package_data_is_found_without_importing_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "somewhere" / "quietpack"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    planted_pack(package / "data" / "pack")
    monkeypatch.syspath_prepend(str(tmp_path / "somewhere"))
    monkeypatch.setitem(packs._PACKAGED, "quiet", ("quietpack", "data/pack"))
    importlib.invalidate_caches()
    assert find_pack("quiet").name == "planted"
    assert "quietpack" not in sys.modules


def test_a_pack_without_a_detector_file_cannot_be_described(pack: Pack) -> None:
    with pytest.raises(ValueError, match="detector needs file"):
        replace(pack.spec, detector=replace(pack.detector, file=""))
    with pytest.raises(PackError, match="detector needs file"):
        load_pack(edit(pack, 'file = "landmarks.onnx"', 'file = ""'))
