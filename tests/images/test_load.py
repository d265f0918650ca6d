"""Any file becomes an upright RGB picture or one clear line; nothing else."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.images.hostile import encoded, mutated, png_claiming, profile_with_swapped_colours
from tests.images.scenes import scene
from vultus.core.errors import PictureError
from vultus.core.keys import content_id
from vultus.images.load import decode_picture, iter_folder, list_pictures, load_folder, load_picture
from vultus.images.records import Caps, Picture, PictureFault

Rgb = npt.NDArray[np.uint8]
SCENE = scene("load", 60, 40)


def stored(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "WEBP", "GIF", "JPEG", "AVIF"])
def test_every_format_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    lossless = kind not in ("GIF", "JPEG", "AVIF")
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    if kind in ("JPEG", "AVIF"):
        options["quality"] = 95
    ending = {"PPM": "ppm", "JPEG": "jpg"}.get(kind, kind.lower())
    data = encoded(SCENE, kind, **options)
    picture = load_picture(stored(tmp_path, f"a.{ending}", data))
    assert picture.rgb.shape == (40, 60, 3) and picture.rgb.dtype == np.uint8
    assert picture.rgb.flags.owndata and picture.rgb.flags.c_contiguous
    assert picture.format == kind
    assert picture.original_size == (60, 40)
    assert picture.content_id == content_id(data)
    if lossless:
        assert np.array_equal(picture.rgb, SCENE) and picture.notes == ()
    else:
        assert np.abs(picture.rgb.astype(int) - SCENE).mean() < 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_undone(tmp_path: Path, orientation: int) -> None:
    """The file stores the scene turned as the camera was; loading must give the scene."""
    turn = {
        1: SCENE,
        2: SCENE[:, ::-1],
        3: SCENE[::-1, ::-1],
        4: SCENE[::-1],
        5: SCENE.transpose(1, 0, 2),
        6: np.rot90(SCENE, 1),
        7: SCENE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(SCENE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(np.ascontiguousarray(turn), "PNG", exif=exif.tobytes())
    picture = load_picture(stored(tmp_path, "turned.png", data))
    assert np.array_equal(picture.rgb, SCENE)
    assert picture.original_size == (60, 40)
    assert (orientation == 1) == (picture.notes == ())


def test_transparent_is_white_and_half_is_half(tmp_path: Path) -> None:
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[:, :10] = (10, 20, 30, 0)
    rgba[:, 10:20] = (0, 0, 0, 128)
    rgba[:, 20:] = (10, 20, 30, 255)
    picture = load_picture(stored(tmp_path, "a.png", encoded(rgba, "PNG")))
    assert picture.rgb[5, 5].tolist() == [255, 255, 255]
    assert abs(int(picture.rgb[5, 15, 0]) - 127) <= 1
    assert picture.rgb[5, 25].tolist() == [10, 20, 30]
    assert picture.notes == ("transparent parts laid on white",)
    palette = Image.fromarray(SCENE).quantize(16)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=np.asarray(palette)[0, 0].item())
    shown = load_picture(stored(tmp_path, "p.png", buffer.getvalue()))
    assert shown.rgb[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bits_use_the_range_of_the_type(tmp_path: Path) -> None:
    wide = np.tile(np.array([0, 128, 257, 32896, 65535], np.uint16), (20, 4))
    picture = load_picture(stored(tmp_path, "a.png", encoded(wide, "PNG")))
    assert picture.rgb[0, :5, 0].tolist() == [0, 0, 1, 128, 255]
    assert "16 bits reduced to 8" in picture.notes
    assert (picture.rgb[..., 0] == picture.rgb[..., 2]).all()


def test_grey_and_cmyk_become_rgb(tmp_path: Path) -> None:
    grey = load_picture(stored(tmp_path, "g.png", encoded(SCENE[..., 0].copy(), "PNG")))
    assert np.array_equal(grey.rgb, np.repeat(SCENE[..., :1], 3, axis=2))
    buffer = io.BytesIO()
    Image.fromarray(SCENE).convert("CMYK").save(buffer, "JPEG", quality=95)
    cmyk = load_picture(stored(tmp_path, "c.jpg", buffer.getvalue()))
    assert np.abs(cmyk.rgb.astype(int) - SCENE).mean() < 12
    assert "converted from CMYK" in cmyk.notes


def test_the_colour_profile_is_honoured(tmp_path: Path) -> None:
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 255
    data = encoded(red, "PNG", icc_profile=profile_with_swapped_colours())
    picture = load_picture(stored(tmp_path, "a.png", data))
    r, g, b = (int(v) for v in picture.rgb[10, 10])
    assert g > 245 and r < 30 and b < 30
    assert picture.notes == ("colours converted from swapped colours to sRGB",)
    broken = encoded(red, "PNG", icc_profile=b"not a profile" * 20)
    ignored = load_picture(stored(tmp_path, "b.png", broken))
    assert ignored.rgb[10, 10].tolist() == [255, 0, 0]
    assert ignored.notes == ("colour profile unreadable, ignored",)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((20, 20, 3), v, np.uint8)) for v in (10, 200)]
    for kind in ("GIF", "WEBP", "PNG"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], lossless=True)
        picture = load_picture(stored(tmp_path, f"a.{kind.lower()}", buffer.getvalue()))
        assert abs(int(picture.rgb[10, 10, 0]) - 10) <= 2
        assert "animated: only the first frame is used" in picture.notes


def test_heic_is_read_upright_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 x 48 px, a red square on a ramp, stored as it is and turned: made by pillow-heif 1.8.1."""
    golden = Path(__file__).parent / "golden"
    plain, way_6 = (load_picture(golden / f"{name}.heic") for name in ("plain", "turned"))
    for picture in (plain, way_6):
        assert picture.format == "HEIF" and picture.rgb.shape == (48, 64, 3)
        red = picture.rgb[10:18, 10:22].reshape(-1, 3).mean(axis=0)
        assert np.abs(red - (220, 40, 40)).max() < 25
    assert np.abs(plain.rgb.astype(int) - way_6.rgb).mean() < 6
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PictureError, match="extra 'heic'") as caught:
        load_picture(golden / "plain.heic")
    assert "VULTUS_EXTRAS=heic" in caught.value.next_command


def test_memory_is_reckoned_before_decoding(tmp_path: Path) -> None:
    path = stored(tmp_path, "a.png", encoded(SCENE, "PNG"))
    with pytest.raises(PictureError, match="MiB to decode as PNG, more than"):
        load_picture(path, Caps(max_memory_bytes=20_000))
    assert load_picture(path, Caps(max_memory_bytes=2_000_000)).rgb.shape == (40, 60, 3)


def test_pictures_of_many_bands_are_whole(tmp_path: Path) -> None:
    """Conversion goes by 256 rows: no row may be lost, doubled or treated differently."""
    tall = np.repeat(np.arange(700, dtype=np.uint16)[:, None] * 90, 20, axis=1)
    picture = load_picture(stored(tmp_path, "a.png", encoded(tall, "PNG")))
    expected = (tall.astype(np.int64) * 255 + 32767) // 65535
    assert np.array_equal(picture.rgb[..., 0], expected)
    assert picture.notes.count("16 bits reduced to 8") == 1
    rgba = np.zeros((600, 20, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[590:, :, 3] = 0  # only the last band is transparent
    shown = load_picture(stored(tmp_path, "b.png", encoded(rgba, "PNG")))
    assert (shown.rgb[:590] == 0).all() and (shown.rgb[590:] == 255).all()
    assert shown.notes == ("transparent parts laid on white",)


def test_the_ending_is_not_believed(tmp_path: Path) -> None:
    picture = load_picture(stored(tmp_path, "a.jpg", encoded(SCENE, "PNG")))
    assert picture.format == "PNG"
    assert picture.notes == ("is a PNG file although its name ends in .jpg",)


BAD = {
    "empty.png": (b"", "the file is empty"),
    "words.jpg": (b"hello, I am not a picture at all", "not a picture of a known format"),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", "not a picture of a known"),
    "bomb.png": (png_claiming(60000, 60000), "pixels"),
    "wide.png": (png_claiming(30_000_000, 3), "million pixels"),
    "dot.png": (encoded(np.zeros((1, 1, 3), np.uint8), "PNG"), "1 x 1 px is too small"),
    "strip.png": (encoded(np.zeros((3, 30000, 3), np.uint8), "PNG"), "too small"),
    "torn.png": (encoded(SCENE, "PNG")[:700], "damaged PNG file"),
    "torn.jpg": (encoded(SCENE, "JPEG")[:700], "damaged JPEG file"),
    "header.png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
    "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(40), "HEIF"),
    "float.tif": (encoded(np.ones((20, 20), np.float32), "TIFF"), "floating-point"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    data, words = BAD[name]
    path = stored(tmp_path, name, data)
    with pytest.raises(PictureError) as caught:
        load_picture(path)
    assert words in caught.value.what
    assert caught.value.where == str(path)
    assert "\n" not in caught.value.what and caught.value.expected


def test_size_caps_come_before_decoding(tmp_path: Path) -> None:
    path = stored(tmp_path, "a.png", encoded(SCENE, "PNG"))
    with pytest.raises(PictureError, match="MiB, more than"):
        load_picture(path, Caps(max_bytes=100))
    with pytest.raises(PictureError, match="60 x 40 px is more than"):
        load_picture(path, Caps(max_pixels=2399))
    assert load_picture(path, Caps(max_pixels=2400)).rgb.shape == (40, 60, 3)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be read"):
        load_picture(tmp_path / "nobody.png")
    with pytest.raises(PictureError, match="not a file"):
        load_picture(tmp_path)


def test_mutated_files_never_do_anything_else() -> None:
    """Four formats, forty wounds each: a picture or a PictureError of one line, nothing third."""
    whole = {
        "PNG": encoded(SCENE, "PNG"),
        "JPEG": encoded(SCENE, "JPEG"),
        "WEBP": encoded(SCENE, "WEBP"),
        "TIFF": encoded(SCENE, "TIFF", compression="tiff_lzw"),
        "GIF": encoded(SCENE, "GIF"),
        "BMP": encoded(SCENE, "BMP"),
    }
    outcomes = {"picture": 0, "fault": 0}
    for kind, data in whole.items():
        for i in range(40):
            wounded = mutated(data, f"{kind} {i}")
            try:
                picture = decode_picture(wounded, Path(f"{kind}.{i}"), Caps(max_pixels=1_000_000))
                assert picture.rgb.ndim == 3 and picture.rgb.dtype == np.uint8
                outcomes["picture"] += 1
            except PictureError as fault:
                assert "\n" not in fault.what and fault.where
                outcomes["fault"] += 1
    assert sum(outcomes.values()) == 240
    assert outcomes["fault"] > 60 and outcomes["picture"] > 20


def test_a_folder_with_bad_files_still_gives_the_good_ones(tmp_path: Path) -> None:
    stored(tmp_path, "b.png", encoded(SCENE, "PNG"))
    stored(tmp_path, "a.jpg", encoded(SCENE, "JPEG"))
    stored(tmp_path, "c.png", b"broken")
    stored(tmp_path, "d.heic", b"\0\0\0\x18ftypheic")
    stored(tmp_path, "a.txt", b"a caption")
    stored(tmp_path, ".hidden.png", b"broken")
    (tmp_path / "more").mkdir()
    stored(tmp_path / "more", "e", encoded(SCENE, "WEBP"))
    loaded = load_folder(tmp_path)
    assert [p.path.name for p in loaded.pictures] == ["a.jpg", "b.png", "e"]
    assert [f.path.name for f in loaded.faults] == ["c.png", "d.heic"]
    assert all(f.reason and f.next_command for f in loaded.faults)
    assert [p.name for p in loaded.passed_over] == ["a.txt"]
    kinds = [type(item) for item in iter_folder(tmp_path)]
    assert kinds == [Picture, Picture, PictureFault, PictureFault, Picture]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert list_pictures(tmp_path) == ([], [])
    with pytest.raises(PictureError, match="no such folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(PictureError, match="not a folder"):
        load_folder(stored(tmp_path, "a.png", b"x"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_locked_folder_says_so(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)
    try:
        with pytest.raises(PictureError, match="cannot be opened"):
            load_folder(locked)
    finally:
        locked.chmod(0o700)
