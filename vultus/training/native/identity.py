"""Identity loss: how far the face in the network's guess is from the person, told by a recogniser with a gradient.

    guess -> x_0 -> latents around the face -> VAE decoder -> warp by known landmarks -> recogniser -> 1 - cosine

No detector looks at a noisy guess: the landmarks are those of the photograph, found once (WithAnyone, arXiv
2510.14975). Only the latents around the face are decoded. The target is a *leave-one-out* prototype, the mean of
the other pictures sent through the same VAE: what is rewarded is the person, not this one photograph, and what the
VAE does to a face does to both sides. The error of x_0 is sqrt(1 - a_t) / sqrt(a_t) that of the noise, so the term
fades with (1 - t / T)^2 and ends at `identity_below_t`.

Whoever judges afterwards must be another recogniser: this one's likeness rises by construction.

Notation
    place       where a face lies in a view's latents, and how its pixels are brought to the template; what of the
                template's square lies outside the picture has the recogniser's own filling, as when it reads a file
    crop        (top, left, bottom, right) in latents, half-open
    grid        (1, S, S, 2) float32: for each pixel of the aligned square, where it is read in the decoded crop,
                -1..1 (`grid_sample`, align_corners=False)
    shrink      whole factor by which the decoded crop is averaged first: a bilinear warp alone would alias
    emb         (d,) float32, unit length
    prototype   (d,) float32, unit length
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from vultus.core.errors import TrainingError
from vultus.faces.align import similarity_transform
from vultus.faces.pack_spec import RecogniserSpec
from vultus.faces.packs import find_pack
from vultus.images.geometry import apply_affine, invert_affine
from vultus.training.native.data import View, Views
from vultus.training.native.parts import Parts
from vultus.training.native.recogniser import Embed, open_recogniser
from vultus.training.records import TrainPicture, TrainSpec

__all__ = ["Identity", "Place", "clean_guess", "face_place", "open_identity", "prototypes"]

MARGIN = 3
"""latents around the aligned square on each side: what a convolutional decoder has to see beside it"""
CROP_MIN = 24
"""latents: smaller crops are decoded too differently from the whole picture"""
SEEN_MIN = 0.9
"""share of the box that the view has to show"""


@dataclass(frozen=True)
class Place:
    """Where one face is read."""

    crop: tuple[int, int, int, int]
    grid: torch.Tensor
    shrink: int


@dataclass(frozen=True)
class Identity:
    """What the loss needs, prepared once: frozen decoder and recogniser, places and prototypes by view."""

    vae: Any
    embed: Embed
    fill: float
    places: Mapping[int, Place]
    targets: Mapping[int, torch.Tensor]
    recogniser: str
    """sha256 of the recogniser's file"""

    def likeness(self, x_0: torch.Tensor, row: int) -> torch.Tensor:
        """Cosine of the face in x_0 (channels, h, w) of a view to its prototype; -1..1."""
        emb = embed_face(self.vae, self.embed, x_0, self.places[row], self.fill)
        return (emb * self.targets[row]).sum()

    def term(
        self, x_0: torch.Tensor, rows: Sequence[int], taper: torch.Tensor
    ) -> torch.Tensor | None:
        """Mean over the pictures of taper * (1 - cosine); None when no face of theirs is read."""
        found = [
            taper[i] * (1 - self.likeness(x_0[i], row))
            for i, row in enumerate(rows)
            if row in self.places and float(taper[i]) > 0
        ]
        return torch.stack(found).sum() / len(rows) if found else None


def clean_guess(
    guess: torch.Tensor, x_t: torch.Tensor, a_t: torch.Tensor, prediction: str
) -> torch.Tensor:
    """The clean latents that a guess of noise (or of v) amounts to, (b, channels, h, w)."""
    a = a_t[:, None, None, None]
    if prediction == "v_prediction":
        return a.sqrt() * x_t - (1 - a).sqrt() * guess
    return (x_t - (1 - a).sqrt() * guess) / a.sqrt()


def _reach(low: float, high: float, most: int) -> tuple[int, int]:
    """The crop along one side, in latents: the aligned square, its margin, at least CROP_MIN where there is room."""
    around = max(MARGIN, (CROP_MIN - (high - low)) / 2)
    start, end = int(np.floor(low - around)), int(np.ceil(high + around))
    if start < 0:
        start, end = 0, end - start
    if end > most:
        start, end = start - (end - most), most
    return max(0, start), min(most, end)


def face_place(
    picture: TrainPicture, view: View, spec: RecogniserSpec, *, factor_px: int, min_latents: float
) -> Place | None:
    """Where the picture's face is read in a view; None where it is too small or cut off."""
    left, top, scale = view.frame
    x0, y0, x1, y1 = picture.faces[0]
    k = scale / factor_px
    box = ((x0 - left) * k, (y0 - top) * k, (x1 - left) * k, (y1 - top) * k)
    height, width = view.latents.shape[1:]
    seen_w = max(0.0, min(box[2], width) - max(box[0], 0.0))
    seen_h = max(0.0, min(box[3], height) - max(box[1], 0.0))
    whole = (box[2] - box[0]) * (box[3] - box[1])
    if box[2] - box[0] < min_latents or seen_w * seen_h < SEEN_MIN * whole:
        return None
    shift = {"centre": 0.5, "corner": 0.0}[spec.origin]
    points = (np.asarray(picture.points, dtype=np.float64) + shift - (left, top)) * scale
    there = similarity_transform(points, np.asarray(spec.template_px, dtype=np.float64) + shift)
    back = invert_affine(there)
    ends = np.array([0.0, spec.size_px])
    corners = apply_affine(back, np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2))
    low, high = corners.min(axis=0) / factor_px, corners.max(axis=0) / factor_px
    x_from, x_to = _reach(low[0], high[0], width)
    y_from, y_to = _reach(low[1], high[1], height)
    shrink = max(1, int(1.0 / np.hypot(there[0, 0], there[1, 0])))
    pixels = ((x_to - x_from) * factor_px, (y_to - y_from) * factor_px)
    # what does not fill a whole cell of the average is left out at the right and below
    used = np.array([n // shrink * shrink for n in pixels], dtype=np.float64)
    middle = np.arange(spec.size_px) + 0.5
    square = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    read = (apply_affine(back, square) - np.array([x_from, y_from]) * factor_px) / used * 2 - 1
    grid = read.reshape(1, spec.size_px, spec.size_px, 2).astype(np.float32)
    return Place(
        (y_from, x_from, y_to, x_to), torch.from_numpy(grid).to(view.latents.device), shrink
    )


def embed_face(
    vae: Any, embed: Embed, latents: torch.Tensor, place: Place, fill: float
) -> torch.Tensor:
    """The embedding (d,) of the face in latents (channels, h, w); gradients flow back to them."""
    top, left, bottom, right = place.crop
    crop = latents[None, :, top:bottom, left:right] / float(vae.config.scaling_factor)
    pixels = (vae.decode(crop).sample + 1) * 127.5
    if place.shrink > 1:
        pixels = functional.avg_pool2d(pixels, place.shrink)
    # outside of the crop the recogniser's own filling
    face = functional.grid_sample(
        pixels - fill, place.grid.to(pixels.dtype), "bilinear", "zeros", align_corners=False
    )
    return embed(face + fill)[0]


def prototypes(
    embs: Mapping[int, torch.Tensor], sources: Mapping[int, str]
) -> dict[int, torch.Tensor]:
    """For each view the mean of the *other* pictures, unit length. Views of one picture count once, together."""
    by_source: dict[str, list[torch.Tensor]] = {}
    for row, emb in embs.items():
        by_source.setdefault(sources[row], []).append(emb)
    means = {
        source: functional.normalize(torch.stack(some).mean(0), dim=0)
        for source, some in by_source.items()
    }
    if len(means) < 2:
        raise TrainingError(
            f"the identity loss finds a readable face in {len(means)} of"
            f" {len(set(sources.values()))} pictures",
            where="[train] identity_weight",
            expected="faces of identity_min_latents in at least 2 pictures: a likeness needs others",
            next_command='set train.views = "added", lower train.identity_min_latents, or identity_weight = 0',
        )
    total = torch.stack(list(means.values())).sum(0)
    return {row: functional.normalize(total - means[sources[row]], dim=0) for row in embs}


def open_identity(
    spec: TrainSpec, parts: Parts, pictures: Sequence[TrainPicture], views: Views
) -> Identity | None:
    """Prepare the loss; None when it is off. Cost: one decoded crop per view."""
    if spec.identity_weight <= 0:
        return None
    pack = find_pack(spec.identity_recogniser)
    device = views.views[0].latents.device
    embed = open_recogniser(pack, device)
    fill = float(pack.recogniser.fill)
    places: dict[int, Place] = {}
    embs: dict[int, torch.Tensor] = {}
    for row, (picture, view) in enumerate(zip(pictures, views.views, strict=True)):
        place = face_place(
            picture,
            view,
            pack.recogniser,
            factor_px=parts.factor_px,
            min_latents=spec.identity_min_latents,
        )
        if place is not None:
            places[row] = place
            with torch.no_grad():
                embs[row] = embed_face(parts.vae, embed, view.latents, place, fill)
    sources = {row: str(picture.path) for row, picture in enumerate(pictures)}
    targets = prototypes(embs, sources)
    return Identity(parts.vae, embed, fill, places, targets, pack.recogniser.sha256)
