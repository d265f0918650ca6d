"""Duplicates of every kind are found, the better one is kept, and different pictures stay apart."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.core.seeds import stream
from vultus.datasets.compare import compare
from vultus.datasets.dedupe import find_duplicates
from vultus.datasets.ingest import Ingested, ingest
from vultus.datasets.overlay import lay_over, shrink
from vultus.datasets.persona import Persona
from vultus.datasets.prints import measure_print, pack, unpack
from vultus.datasets.records import CurateSpec, Duplicate
from vultus.faces.engines.fake import FakeEngine, fake_pack
from vultus.images.matching import extract, match
from vultus.images.records import Rgb

ADA = Persona("Ada", "ohwx", "woman", "synthetic", True)
SIDE_PX = 160


def scene(name: str) -> Rgb:
    """Discs and bars over a gradient: structure at several scales, like a photograph, and never twice the same."""
    rng = stream("dedupe scene", name)
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32)
    tilt = rng.uniform(-0.6, 0.6, (3, 2))
    rgb = 120 + x[..., None] * tilt[:, 0] + y[..., None] * tilt[:, 1]
    for _ in range(40):
        cx, cy, r = *rng.uniform(0, SIDE_PX, 2), rng.uniform(4, 22)
        colour = rng.uniform(0, 255, 3)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < r * r
        rgb[inside] = colour
        bar = (np.abs(x - cx) < 2) & (np.abs(y - cy) < r)
        rgb[bar] = 255 - colour
    return np.asarray(np.clip(rgb, 0, 255), dtype=np.uint8)


def jpeg(rgb: Rgb, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=quality)
    return out.getvalue()


def resized(rgb: Rgb, side_px: int) -> Rgb:
    return np.asarray(Image.fromarray(rgb).resize((side_px, side_px), Image.Resampling.LANCZOS))


def seen(folder: Path) -> Ingested:
    return ingest(folder, ADA, FakeEngine(fake_pack()))


def save(folder: Path, name: str, rgb: Rgb) -> None:
    Image.fromarray(rgb).save(folder / name)


def only(found: list[Duplicate]) -> Duplicate:
    assert len(found) == 1, found
    return found[0]


def test_different_pictures_stay_apart(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path, f"{i}.png", scene(f"apart {i}"))
    assert find_duplicates(seen(tmp_path), CurateSpec()) == []


@pytest.mark.parametrize(
    "kind", ["bytes", "pixels", "jpeg", "small", "mirror", "crop", "mirrored crop"]
)
def test_each_disease_is_found_by_name(tmp_path: Path, kind: str) -> None:
    rgb = scene("original")
    cropped = np.ascontiguousarray(rgb[30:140, 20:130])
    save(tmp_path, "b.png", rgb)
    save(tmp_path, "other.png", scene("other"))
    if kind == "bytes":
        (tmp_path / "z.png").write_bytes((tmp_path / "b.png").read_bytes())
    elif kind == "pixels":
        save(tmp_path, "z.bmp", rgb)
    elif kind == "jpeg":
        (tmp_path / "z.jpg").write_bytes(jpeg(rgb, 30))
    elif kind == "small":
        save(tmp_path, "z.png", resized(rgb, 90))
    elif kind == "mirror":
        save(tmp_path, "z.png", np.ascontiguousarray(rgb[:, ::-1]))
    elif kind == "crop":
        save(tmp_path, "z.png", resized(cropped, SIDE_PX))
    else:
        save(tmp_path, "z.png", np.ascontiguousarray(cropped[:, ::-1]))
    found = only(find_duplicates(seen(tmp_path), CurateSpec()))
    assert {found.kept, found.dropped} == {"b.png", next(p.name for p in tmp_path.glob("z.*"))}
    expected = {
        "bytes": "identical",
        "pixels": "identical",
        "jpeg": "edited",
        "small": "edited",
        "mirror": "mirrored",
        "crop": "cropped",
        "mirrored crop": "mirrored",
    }
    assert found.kind == expected[kind]
    assert found.evidence
    if kind in ("small", "crop", "mirrored crop"):
        assert found.kept == "b.png", "the whole picture is worth more than its part"


def test_a_picture_with_a_caption_is_kept_over_its_twin_without(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path, name, scene("twin"))
    (tmp_path / "b.txt").write_text("a red hat", encoding="utf-8")
    assert only(find_duplicates(seen(tmp_path), CurateSpec())).kept == "b.png"


def test_a_grey_copy_goes_even_with_a_caption(tmp_path: Path) -> None:
    save(tmp_path, "z.png", scene("grey twin"))
    Image.fromarray(scene("grey twin")).convert("L").save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a red hat", encoding="utf-8")
    assert only(find_duplicates(seen(tmp_path), CurateSpec())).kept == "z.png"


def test_a_chain_of_copies_keeps_one(tmp_path: Path) -> None:
    rgb = scene("chain")
    save(tmp_path, "a.png", rgb)
    save(tmp_path, "b.png", np.ascontiguousarray(rgb[:, ::-1]))
    save(tmp_path, "c.png", resized(rgb[:120, :120], 100))
    (tmp_path / "d.jpg").write_bytes(jpeg(resized(rgb, 100), 50))
    found = find_duplicates(seen(tmp_path), CurateSpec())
    assert {duplicate.kept for duplicate in found} == {"a.png"} or {
        duplicate.kept for duplicate in found
    } == {"b.png"}
    assert len(found) == 3


def test_one_patch_in_two_scenes_is_no_copy() -> None:
    """The trap of faces: the same detailed patch in two pictures matches, and yet they are two pictures."""
    patch = resized(scene("face"), 80)
    a, b = scene("background a"), scene("background b")
    a[40:120, 40:120] = patch
    b[20:100, 60:140] = patch
    features = extract(a), extract(b)
    found = match(*features)
    assert found.cells >= CurateSpec().match_cells and found.matrix is not None, (
        "the trap is not set"
    )
    laid = lay_over(shrink(a), shrink(b), found.matrix, features[0].size_px, features[1].size_px)
    assert laid.agreeing < 0.5
    assert compare(measure_print(a), measure_print(b), CurateSpec()) is None
    itself = compare(measure_print(a), measure_print(a), CurateSpec())
    assert itself is not None and itself.kind == "edited"


def test_a_head_that_turned_is_a_burst_and_no_copy() -> None:
    """The background of a tripod is equal to the pixel; what moved in front of it tells two exposures."""
    from dataclasses import replace

    from vultus.standin.personas import clean_pictures, persona
    from vultus.standin.render import render

    known = list(clean_pictures(7, 4))
    other = {"smiling": "stern"}
    later = [
        (known[0], {"yaw": known[0][1].yaw + 0.03}),
        (known[3], {"yaw": known[3][1].yaw + 0.03}),
        *(
            (
                known[k],
                {
                    "yaw": scene_of.yaw + 0.05,
                    "expression": other.get(scene_of.expression, "smiling"),
                },
            )
            for k, (_, scene_of) in enumerate(known[:2])
        ),
    ]
    assert len(later) == 4
    for (rgb, scene_of), change in later:
        moved = render(persona(7), replace(scene_of, **change)).rgb  # type: ignore[arg-type]
        link = compare(measure_print(rgb), measure_print(moved), CurateSpec())
        assert link is not None and link.kind == "burst", f"{change}: {link}"
    copy = compare(measure_print(rgb), measure_print(resized(rgb, 100)), CurateSpec())
    assert copy is not None and copy.kind == "edited"


def _pulled(rgb: np.ndarray, by_px: float) -> np.ndarray:
    """The picture with every part up to `by_px` off its place, smoothly: what another draw of one noise looks like."""
    import cv2

    rng = stream("pulled", rgb.shape[0])
    height, width = rgb.shape[:2]
    field = [
        cv2.resize(rng.standard_normal((6, 6)).astype(np.float32), (width, height)) for _ in "xy"
    ]
    across, down = (one / np.abs(one).max() * by_px for one in field)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.asarray(cv2.remap(rgb, x + across, y + down, cv2.INTER_CUBIC))


def test_parts_a_little_off_their_place_are_no_copy() -> None:
    """Renders of one starting noise agree in detail, and each part sits a fraction of a pixel elsewhere."""
    rgb = resized(scene("noise"), 256)
    whole = measure_print(rgb)
    found = []
    for by_px in (0.0, 0.2, 2.0, 4.0):
        other = measure_print(np.ascontiguousarray(_pulled(rgb, by_px)))
        link = compare(whole, other, CurateSpec())
        laid = match(whole.features, other.features)
        assert laid.matrix is not None
        sizes = whole.features.size_px, other.features.size_px
        found.append((lay_over(whole.small, other.small, laid.matrix, *sizes), link))
    strains = [laid.strain for laid, _ in found]
    assert strains[0] <= 0.01 and strains == sorted(strains)
    assert 0.02 <= strains[1] <= 0.15 and strains[2] >= 0.3, strains
    kinds = [None if link is None else link.kind for _, link in found]
    assert kinds[:2] == ["edited", "edited"] and "edited" not in kinds[2:], kinds


def test_a_map_that_is_off_is_settled_by_brightness() -> None:
    """Key points leave a narrow picture's map a pixel or two off; what lies on each other says where it belongs."""
    small = shrink(resized(scene("settled"), 256))
    size = small.shape[1], small.shape[0]
    wrong = np.array([[1.006, 0.0, 0.4], [0.001, 0.994, 0.9]])
    laid = lay_over(small, small, wrong, size, size)
    corners = np.array([[0.0, 0.0], [256.0, 0.0], [0.0, 256.0], [256.0, 256.0]])
    away = np.linalg.norm(corners @ laid.matrix[:, :2].T + laid.matrix[:, 2] - corners, axis=1)
    before = np.linalg.norm(corners @ wrong[:, :2].T + wrong[:, 2] - corners, axis=1)
    assert before.max() > 1.5 and away.max() < 0.3, away
    assert laid.agreeing >= 0.99 and laid.moved == 0.0


def test_a_print_survives_its_packing() -> None:
    one = measure_print(scene("packed"))
    back = unpack(pack(one))
    assert np.array_equal(back.hashes.plain, one.hashes.plain)
    assert np.array_equal(back.hashes.mirrored, one.hashes.mirrored)
    assert np.array_equal(back.features.points, one.features.points)
    cosines = (back.features.descriptors * one.features.descriptors).sum(axis=1)
    assert len(cosines) > 100 and cosines.min() > 0.995
    link = compare(one, back, CurateSpec())
    assert link is not None and link.kind == "edited" and link.matrix is not None
    assert np.allclose(link.matrix, [[1, 0, 0], [0, 1, 0]], atol=2e-3)
