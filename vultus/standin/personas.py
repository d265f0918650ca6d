"""Folders of pictures as people make them: a persona's good pictures with the diseases of real sets planted.

Notation
    Sick set    good pictures, plus exact copies, edited copies (recompressed, resized, mirrored), crops, strangers,
                blurred frames; some pictures with glasses; some captions that lie
    truth       what was planted, by file name: the answer sheet for curation's tests and benchmarks
Personas come from people that no stand-in model has seen; every fourth lies 20 % outside the training range (rule 7).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from vultus.core.files import write_bytes, write_json, write_text
from vultus.core.seeds import stream
from vultus.standin.identity import Identity, sample_identity
from vultus.standin.nuisance import (
    FRAMINGS,
    Nuisance,
    caption,
    sample_nuisance,
    without_accessories,
)
from vultus.standin.render import render

__all__ = ["Diseases", "clean_pictures", "persona", "write_persona_folder"]

Rgb = npt.NDArray[np.uint8]
_SUBJECT: Final = "{persona}"


@dataclass(frozen=True)
class Diseases:
    """How many of each fault a folder gets."""

    exact: int = 0
    edited: int = 0
    cropped: int = 0
    strangers: int = 0
    blurred: int = 0
    with_glasses: int = 0
    wrong_captions: int = 0


def persona(index: int) -> Identity:
    """The stand-in persona with this number."""
    return sample_identity(
        stream("standin", "persona", index), reach=1.2 if index % 4 == 3 else 1.0
    )


def clean_pictures(
    index: int, count: int, *, glasses: int = 0, name: str = "pictures"
) -> Iterator[tuple[Rgb, Nuisance]]:
    """`count` pictures of a persona, framings in turn, nothing worn but `glasses` pairs of glasses."""
    who = persona(index)
    for k in range(count):
        rng = stream("standin", "persona", index, name, k)
        scene = without_accessories(sample_nuisance(rng, framing=FRAMINGS[k % len(FRAMINGS)]))
        if k < glasses:
            scene = replace(scene, glasses=True)
        yield render(who, scene).rgb, scene


def _png(rgb: Rgb) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(rgb).save(out, "PNG", optimize=True)
    return out.getvalue()


def _jpeg(rgb: Rgb, quality: int) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(rgb).save(out, "JPEG", quality=quality)
    return out.getvalue()


def _edited(rgb: Rgb, k: int) -> tuple[str, bytes]:
    """One of the edits that re-runs and chat programs make: recompressed, resized, mirrored."""
    if k % 3 == 0:
        return "jpg", _jpeg(rgb, 60)
    if k % 3 == 1:
        small = Pillow.fromarray(rgb).resize((104, 104), Pillow.Resampling.LANCZOS)
        return "png", _png(np.asarray(small))
    return "png", _png(np.ascontiguousarray(rgb[:, ::-1]))


def _cropped(rgb: Rgb, rng: np.random.Generator) -> bytes:
    x, y = (int(v) for v in rng.integers(4, 20, 2))
    part = Pillow.fromarray(rgb[y : y + 104, x : x + 104])
    return _png(np.asarray(part.resize((128, 128), Pillow.Resampling.BICUBIC)))


def write_persona_folder(
    folder: Path, index: int, *, good: int = 36, sick: Diseases | None = None
) -> dict[str, list[str]]:
    """Write pictures and captions into `folder`; returns (and writes beside it) what was planted."""
    plan = sick or Diseases()
    folder.mkdir(parents=True, exist_ok=True)
    rng = stream("standin", "persona", index, "diseases")
    kept = list(clean_pictures(index, good, glasses=plan.with_glasses))
    wrong = set(range(good - plan.wrong_captions, good))
    for k, (rgb, scene) in enumerate(kept):
        told = replace(scene, background="beach", cloth_colour="red") if k in wrong else scene
        _write(folder, f"picture_{k:02d}", "png", _png(rgb), caption(told, _SUBJECT))
    truth: dict[str, list[str]] = {
        key: [] for key in ("exact", "edited", "cropped", "strangers", "blurred")
    }
    hosts = [int(i) for i in rng.permutation(np.arange(plan.with_glasses, good))]
    for k in range(plan.exact):
        rgb, scene = kept[hosts.pop()]
        truth["exact"].append(
            _write(folder, f"copy_{k:02d}", "png", _png(rgb), caption(scene, _SUBJECT))
        )
    for k in range(plan.edited):
        rgb, scene = kept[hosts.pop()]
        ending, data = _edited(rgb, k)
        truth["edited"].append(
            _write(folder, f"edited_{k:02d}", ending, data, caption(scene, _SUBJECT))
        )
    for k in range(plan.cropped):
        rgb, scene = kept[hosts.pop()]
        truth["cropped"].append(
            _write(folder, f"crop_{k:02d}", "png", _cropped(rgb, rng), caption(scene, _SUBJECT))
        )
    for k in range(plan.strangers):
        other = sample_identity(stream("standin", "stranger", index, k))
        scene = without_accessories(sample_nuisance(rng, framing=FRAMINGS[k % 2]))
        truth["strangers"].append(
            _write(
                folder,
                f"drift_{k:02d}",
                "png",
                _png(render(other, scene).rgb),
                caption(scene, _SUBJECT),
            )
        )
    for k in range(plan.blurred):
        scene = replace(without_accessories(sample_nuisance(rng)), blur_px=3.0)
        truth["blurred"].append(
            _write(
                folder,
                f"frame_{k:02d}",
                "png",
                _png(render(persona(index), scene).rgb),
                caption(scene, _SUBJECT),
            )
        )
    write_json(folder.parent / "planted.json", truth)
    return truth


def _write(folder: Path, stem: str, ending: str, data: bytes, words: str) -> str:
    write_bytes(folder / f"{stem}.{ending}", data)
    write_text(folder / f"{stem}.txt", words + "\n")
    return f"{stem}.{ending}"
