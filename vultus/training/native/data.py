"""Pictures and captions, encoded once: what the training loop reads instead of files.

Notation
    latents     (channels, height_px / 8, width_px / 8) float32, already times the VAE's scaling
    spread      same shape; standard deviation of the VAE's posterior, None where it has none
    face        (1, h, w) float32 in latents: 1 on the face, see `face_map`
    frame       (left_px, top_px, scale): where the view begins in the picture, trained px per picture px
    time_ids    (6,) float32: original height, width; crop top, left; trained height, width (px):
                SDXL's micro-conditioning, told truthfully. The original size is the file's; the
                crop is counted after scaling to the trained size, as in SDXL's own training
    tokens      (77,) int64
    text        (77, width_1 + width_2): the encoders' last-but-one hidden states, side by side
    pooled      (width_2,): the second encoder's projected end token
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vultus.core.errors import PictureError, TrainingError
from vultus.images.load import load_picture
from vultus.training.native.face_map import face_mask, faces_in_view
from vultus.training.native.order import bucket_size
from vultus.training.native.parts import Parts
from vultus.training.records import TrainPicture

__all__ = [
    "Captions",
    "Text",
    "View",
    "Views",
    "captions_of",
    "encode_captions",
    "encode_pictures",
    "encode_text",
    "refuse_hidden_faces",
    "window_of",
]

BoxPx = tuple[int, int, int, int]


@dataclass(frozen=True)
class View:
    """One picture, encoded."""

    latents: torch.Tensor
    spread: torch.Tensor | None
    time_ids: torch.Tensor
    face: torch.Tensor
    frame: tuple[float, float, float]


@dataclass(frozen=True)
class Views:
    """All pictures, and those of equal size together."""

    views: tuple[View, ...]
    buckets: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[tuple[int, int, int], ...]:
        """(width_px, height_px, pictures) of every bucket."""
        found = []
        for bucket in self.buckets:
            height, width = (int(n) for n in self.views[bucket[0]].time_ids[4:])
            found.append((width, height, len(bucket)))
        return tuple(found)


@dataclass(frozen=True)
class Text:
    """Conditioning of a batch (leading dimension: captions)."""

    text: torch.Tensor
    pooled: torch.Tensor


@dataclass(frozen=True)
class Captions:
    """Captions as tokens, and encoded when the encoders stay as they are.

    The row after the last caption is the absent caption. `cached` is None when the text encoders
    are trained: their outputs then change every step.
    """

    tokens: torch.Tensor
    tokens_2: torch.Tensor
    cached: Text | None
    notes: tuple[str, ...]

    @property
    def absent(self) -> int:
        """Index of the absent caption."""
        return len(self.tokens) - 1


def window_of(box: BoxPx, size: tuple[int, int]) -> tuple[float, float, float, float, float]:
    """What of a box is seen in (width, height) = size: left, top, right, bottom in px of the picture, and the scale.

    What does not fit the bucket's shape is cut off evenly on both sides. The window never leaves the box: a division
    that rounds up would put it 1e-15 px outside of the picture, which Pillow refuses.
    """
    x0, y0, x1, y1 = box
    scale = max(size[0] / (x1 - x0), size[1] / (y1 - y0))
    cut_w, cut_h = min(size[0] / scale, x1 - x0), min(size[1] / scale, y1 - y0)
    left, top = x0 + (x1 - x0 - cut_w) / 2, y0 + (y1 - y0 - cut_h) / 2
    return left, top, min(left + cut_w, x1), min(top + cut_h, y1), scale


def _scaled_view(
    rgb: np.ndarray[Any, np.dtype[np.uint8]], box: BoxPx, size: tuple[int, int]
) -> tuple[torch.Tensor, list[int], tuple[float, float, float]]:
    """Cut a box out and bring it to (width, height) = size.

    Returns float32 CHW, time_ids, and where the view lies: (left_px, top_px, scale).
    """
    from PIL import Image

    width, height = size
    left, top, right, bottom, scale = window_of(box, size)
    picture = Image.fromarray(rgb).resize(
        size, Image.Resampling.LANCZOS, box=(left, top, right, bottom)
    )
    values = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1.0)
    full_h, full_w = rgb.shape[0], rgb.shape[1]
    ids = [full_h, full_w, round(top * scale), round(left * scale), height, width]
    return values.permute(2, 0, 1).contiguous(), ids, (left, top, scale)


def _checked_box(picture: TrainPicture, rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> BoxPx:
    height, width = rgb.shape[:2]
    if (width, height) != tuple(picture.original_size):
        raise PictureError(
            f"is {width}x{height} px, not {picture.original_size[0]}x{picture.original_size[1]}",
            where=str(picture.path),
            expected="the very picture that the dataset was frozen with",
            next_command="vultus dataset freeze",
        )
    box = picture.crop or (0, 0, width, height)
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise PictureError(f"has a crop {box} outside of it", where=str(picture.path))
    return box


def _encode(parts: Parts, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    scaling = float(parts.vae.config.scaling_factor)
    output = parts.vae.encode(pixels)
    if hasattr(output, "latent_dist"):
        posterior = output.latent_dist
        return posterior.mean * scaling, posterior.std * scaling
    return output.latents * scaling, None


def _encode_one(
    parts: Parts, picture: TrainPicture, resolution_px: int, device: torch.device
) -> View:
    rgb = load_picture(picture.path).rgb
    box = _checked_box(picture, rgb)
    shape = (box[2] - box[0], box[3] - box[1])
    size = bucket_size(shape, resolution_px, parts.bucket_px)
    pixels, ids, (left, top, scale) = _scaled_view(rgb, box, size)
    with torch.no_grad():
        mean, spread = _encode(parts, pixels[None].to(device))
    if not bool(torch.isfinite(mean).all()):
        raise TrainingError(
            "the VAE turned this picture into numbers that are not finite",
            where=str(picture.path),
            expected="a VAE that works in fp32 (for SDXL: the fp16-fix one, or the original)",
        )
    face = face_mask(
        picture.faces,
        left=left,
        top=top,
        scale=scale,
        size=(mean.shape[3], mean.shape[2]),
        factor_px=parts.factor_px,
    )
    return View(
        latents=mean[0].float(),
        spread=None if spread is None else spread[0].float(),
        time_ids=torch.tensor(ids, dtype=torch.float32, device=device),
        face=face.to(device),
        frame=(left, top, scale),
    )


def encode_pictures(
    parts: Parts, pictures: Sequence[TrainPicture], resolution_px: int, device: torch.device
) -> Views:
    """Encode every picture once with the frozen VAE. Cost: one VAE forward per picture."""
    views = tuple(_encode_one(parts, picture, resolution_px, device) for picture in pictures)
    buckets: dict[torch.Size, list[int]] = {}
    for i, view in enumerate(views):
        buckets.setdefault(view.latents.shape, []).append(i)
    return Views(views, tuple(tuple(bucket) for _, bucket in sorted(buckets.items())))


def refuse_hidden_faces(pictures: Sequence[TrainPicture], views: Views) -> None:
    """Raise TrainingError for a picture whose face was cut off with what did not fit the trained size."""
    for picture, view in zip(pictures, views.views, strict=True):
        height, width = (int(n) for n in view.time_ids[4:])
        if not faces_in_view(picture.faces, view.frame, (width, height)):
            raise TrainingError(
                f"the face is cut off in what is trained of this picture ({width}x{height} px)",
                where=str(picture.path),
                expected="a picture at most twice as long as wide, or a crop that shows the face",
                next_command="crop the picture around the person, or set it aside",
            )


def _tokens(tokenizer: Any, captions: Sequence[str], device: torch.device) -> torch.Tensor:
    found = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: torch.Tensor = found.input_ids
    return ids.to(device)


def _too_long(tokenizer: Any, pictures: Sequence[TrainPicture]) -> tuple[str, ...]:
    notes = []
    room = int(tokenizer.model_max_length)
    for picture in pictures:
        count = len(tokenizer(picture.caption, truncation=False, verbose=False).input_ids)
        if count > room:
            notes.append(
                f"{Path(picture.path).name}: caption has {count - 2} tokens, "
                f"only the first {room - 2} are read"
            )
    return tuple(notes)


def encode_text(parts: Parts, tokens: torch.Tensor, tokens_2: torch.Tensor) -> Text:
    """Both encoders on a batch of tokens, as SDXL conditions on them."""
    one = parts.text_encoder(tokens, output_hidden_states=True)
    two = parts.text_encoder_2(tokens_2, output_hidden_states=True)
    # the last layer is skipped on purpose: SDXL was trained on the one before it
    text = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
    return Text(text, two.text_embeds)


def captions_of(parts: Parts, captions: Captions, indices: Sequence[int]) -> Text:
    """The conditioning of a batch; gradients flow when the text encoders are trained."""
    rows = list(indices)
    if captions.cached is not None:
        return Text(captions.cached.text[rows], captions.cached.pooled[rows])
    encoded = encode_text(parts, captions.tokens[rows], captions.tokens_2[rows])
    if not parts.zero_empty_prompt:
        return encoded
    present = torch.tensor([i != captions.absent for i in rows], device=encoded.text.device)
    return Text(encoded.text * present[:, None, None], encoded.pooled * present[:, None])


def _frozen_text(parts: Parts, tokens: torch.Tensor, tokens_2: torch.Tensor) -> Text:
    with torch.no_grad():
        texts = [
            encode_text(parts, tokens[i : i + 16], tokens_2[i : i + 16])
            for i in range(0, len(tokens), 16)
        ]
    found = Text(
        torch.cat([t.text for t in texts]).float(), torch.cat([t.pooled for t in texts]).float()
    )
    if parts.zero_empty_prompt:
        # SDXL marks an absent caption with zeros, not with the encoding of ""
        found.text[-1] = 0.0
        found.pooled[-1] = 0.0
    return found


def encode_captions(
    parts: Parts, pictures: Sequence[TrainPicture], *, cache: bool, device: torch.device
) -> Captions:
    """Tokenize all captions; with `cache` also run the frozen text encoders once."""
    words = [*(picture.caption for picture in pictures), ""]
    tokens = _tokens(parts.tokenizer, words, device)
    tokens_2 = _tokens(parts.tokenizer_2, words, device)
    return Captions(
        tokens=tokens,
        tokens_2=tokens_2,
        cached=_frozen_text(parts, tokens, tokens_2) if cache else None,
        notes=_too_long(parts.tokenizer, pictures),
    )
