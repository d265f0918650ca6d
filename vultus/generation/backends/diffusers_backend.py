"""Rendering with diffusers: one base stays resident, LoRAs are switched on it in milliseconds.

    request -> prompt embeddings (kept) -+
    request -> noise from its own seed --+-> denoising (batched) -> VAE -> rgb

Where there is room for a copy of the UNet's weights, a LoRA is merged into them and neighbours of one LoRA and strength
are denoised together; elsewhere neighbours of one LoRA are, whatever their strengths: each picture of a batch carries
its own. A batch that does not fit into the card's memory costs the copy first; then it is halved, and stays halved.

Strength 0 runs the base with every LoRA switched off and every weight as it was loaded, so it equals the base bit for
bit.

Cost, stand-in base, 10 steps with guidance: about 0.1 CPU-s a render; loading a LoRA there 0.1 s, a full-size one 3 s;
changing its strength 0.1 s.

Notation
    z       latents             (batch, channels, height_px / factor, width_px / factor)
    noise   starting point      (channels, h, w) float32, drawn on the CPU from the request's seed
    rgb     one render          uint8 (height_px, width_px, 3)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vultus.core.errors import RenderError
from vultus.core.log import logger
from vultus.generation.backends.adapters import Adapters
from vultus.generation.backends.codec import encode_picture
from vultus.generation.backends.pipeline import load_pipeline
from vultus.generation.records import Progress, Redraw, RenderRequest, RenderSpec, Rgb

__all__ = ["DiffusersRenderer", "open_renderer"]

# a panel has a few dozen prompts; SDXL's embeddings of one take 0.3 MB
_PROMPTS_KEPT = 512
# two renders of 1024 px at a time (guidance doubles them) beside SDXL in 24 GB; small ones by 16,
# where a CPU core gets no faster any more
_BATCH_LATENTS = 2 * 128 * 128
_BATCH_MOST = 16


@dataclass(frozen=True)
class _Words:
    """Embeddings of one prompt and of the negative prompt (None without guidance)."""

    text: torch.Tensor
    pooled: torch.Tensor
    negative_text: torch.Tensor | None
    negative_pooled: torch.Tensor | None


class DiffusersRenderer:
    """A resident base. `render` yields in the order of the requests, one batch at a time."""

    def __init__(self, pipe: Any, spec: RenderSpec, device: torch.device, batch: int) -> None:
        self._pipe = pipe
        self._spec = spec
        self._device = device
        self.batch = batch
        self._adapters = Adapters(pipe, device)
        self._words: OrderedDict[tuple[str, str], _Words] = OrderedDict()

    def render(
        self, requests: Sequence[RenderRequest], progress: Progress | None = None
    ) -> Iterator[Rgb]:
        """Render all requests; neighbours with one LoRA are denoised together."""
        if self._pipe is None:
            raise RenderError("this renderer was closed", next_command="open it again")
        waiting = [list(same) for _, same in groupby(requests, key=self._together)]
        while waiting:
            group = waiting.pop(0)
            now, later = group[: self.batch], group[self.batch :]
            try:
                pictures = self._render_batch(now)
            except torch.OutOfMemoryError as full:
                self._halve(len(now), full)
                waiting.insert(0, group)
                continue
            if later:
                waiting.insert(0, later)
            for rgb in pictures:
                if progress:
                    progress.advance(1)
                yield rgb

    def _together(self, request: RenderRequest) -> tuple[Path | None, float | None]:
        """What neighbours must have in common to be denoised in one batch."""
        if request.lora is None or request.strength == 0.0:
            return None, None
        mixes = self._adapters.mixes(request.lora)
        return request.lora, None if mixes else request.strength

    def _halve(self, tried: int, full: BaseException) -> None:
        """No copy of the weights from now on, then half the batch; a single picture that does not fit is an error."""
        roomier = self._adapters.give_room()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if roomier:
            logger(__name__).warning("out of memory: LoRAs run beside the layers from now on")
            return
        if tried == 1:
            raise RenderError(
                "the card has no room for a single render",
                expected="a smaller render.width_px and height_px, or a card that nobody else uses",
                next_command="vultus doctor",
            ) from full
        self.batch = max(1, tried // 2)
        logger(__name__).warning("out of memory: %d renders at a time from now on", self.batch)

    def redraw(self, asked: Sequence[Redraw]) -> Iterator[Rgb]:
        """Draw square pictures again, one at a time: the second pass over enlarged faces."""
        for one in asked:
            yield self._redraw(one)

    @torch.inference_mode()
    def _redraw(self, asked: Redraw) -> Rgb:
        words = self._prepare([asked.request])[0]
        steps = self._spec.steps
        begin = min(steps - 1, round(steps * (1.0 - asked.denoise)))
        unet, scheduler = self._pipe.unet, self._pipe.scheduler
        scheduler.set_timesteps(steps, device=self._device)
        times = scheduler.timesteps[begin:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        clean = encode_picture(self._pipe.vae, asked.rgb, self._device)
        clean = clean * self._pipe.vae.config.scaling_factor
        noise = torch.randn(
            clean.shape, generator=torch.Generator().manual_seed(asked.request.seed)
        )
        z = scheduler.add_noise(clean, noise.to(self._device), times[:1]).to(unet.dtype)
        side = asked.rgb.shape[0]
        ids = torch.tensor([[side, side, 0, 0, side, side]], device=self._device, dtype=unet.dtype)
        text, pooled = words.text, words.pooled
        if self._guided:
            text = torch.cat([_stacked([words.negative_text]), text])
            pooled = torch.cat([_stacked([words.negative_pooled]), pooled])
        added = {"text_embeds": pooled, "time_ids": ids.repeat(len(text), 1)}
        for t in times:
            seen = scheduler.scale_model_input(z.repeat(len(text), 1, 1, 1), t)
            told = unet(
                seen, t, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False
            )[0]
            if self._guided:
                without, told = told.chunk(2)
                told = without + self._spec.guidance * (told - without)
            z = scheduler.step(told, t, z, return_dict=False)[0]
        return self._decode(z, asked.request)

    def close(self) -> None:
        """Let go of the weights."""
        self._pipe = None
        self._words.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _render_batch(self, requests: Sequence[RenderRequest]) -> list[Rgb]:
        words = self._prepare(requests)
        noise = torch.stack([self._noise(request.seed) for request in requests])
        guided = self._guided
        z = self._pipe(
            prompt_embeds=torch.cat([w.text for w in words]),
            pooled_prompt_embeds=torch.cat([w.pooled for w in words]),
            negative_prompt_embeds=_stacked([w.negative_text for w in words]) if guided else None,
            negative_pooled_prompt_embeds=(
                _stacked([w.negative_pooled for w in words]) if guided else None
            ),
            latents=noise.to(self._device, self._pipe.unet.dtype),
            width=self._spec.width_px,
            height=self._spec.height_px,
            num_inference_steps=self._spec.steps,
            guidance_scale=self._spec.guidance,
            output_type="latent",
            return_dict=False,
        )[0]
        return [self._decode(z[i : i + 1], request) for i, request in enumerate(requests)]

    def _prepare(self, requests: Sequence[RenderRequest]) -> list[_Words]:
        """Switch the LoRA to these strengths, picture by picture, and encode the prompts under them."""
        lora = requests[0].lora
        words: dict[int, _Words] = {}
        strengths = [request.strength for request in requests]
        for strength in dict.fromkeys(strengths):
            # per batch, not per group: the caller may use the renderer between two pictures
            mark = self._adapters.switch(lora, strength)
            for i, request in enumerate(requests):
                if request.strength == strength:
                    words[i] = self._encode(request.prompt, mark)
        if lora is not None and len(set(strengths)) > 1:
            self._adapters.mix(lora, strengths * (2 if self._guided else 1), self._device)
        return [words[i] for i in range(len(requests))]

    @property
    def _guided(self) -> bool:
        return self._spec.guidance > 1.0

    def _noise(self, seed: int) -> torch.Tensor:
        factor = self._pipe.vae_scale_factor
        channels = int(self._pipe.unet.config.in_channels)
        shape = (channels, self._spec.height_px // factor, self._spec.width_px // factor)
        # on the CPU, so that every device starts from the same noise
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def _encode(self, prompt: str, mark: str) -> _Words:
        """Embeddings of a prompt. One prompt at a time, so they never depend on the neighbours.

        `mark` names the LoRA on the text encoders, "" when there is none.
        """
        key = (mark, prompt)
        if key in self._words:
            self._words.move_to_end(key)
            return self._words[key]
        text, negative_text, pooled, negative_pooled = self._pipe.encode_prompt(
            prompt=prompt,
            device=self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=self._guided,
            # None gives the zeros that SDXL's training used; "" would give an encoding
            negative_prompt=self._spec.negative or None,
        )
        words = _Words(text, pooled, negative_text, negative_pooled)
        self._words[key] = words
        if len(self._words) > _PROMPTS_KEPT:
            self._words.popitem(last=False)
        return words

    def _decode(self, z: torch.Tensor, request: RenderRequest) -> Rgb:
        """Latents of one picture -> rgb. The VAE always decodes in fp32: SDXL's overflows in fp16.

        A LoRA whose strength drives the numbers out of range gives a black picture, which scores as a missing face: one
        hot corner of a grid must not end a night's sweep. From the base alone it is an error.
        """
        config = self._pipe.vae.config
        picture = self._pipe.vae.decode(z.float() / config.scaling_factor, return_dict=False)[0]
        if not bool(torch.isfinite(picture).all()):
            if request.lora is not None and request.strength != 0.0:
                words = "%s at strength %g: the render is not made of finite numbers, hence black"
                logger(__name__).warning(words, request.lora.name, request.strength)
                return np.zeros((*picture.shape[2:], 3), np.uint8)
            raise RenderError(
                "the render is not made of finite numbers",
                expected="weights and a VAE that fit each other",
                next_command='set render.precision = "fp32", or choose another base',
            )
        scaled = ((picture[0] / 2 + 0.5).clamp(0, 1) * 255).round()
        rgb: Rgb = scaled.permute(1, 2, 0).to("cpu", torch.uint8).contiguous().numpy()
        return rgb


def _stacked(parts: Sequence[torch.Tensor | None]) -> torch.Tensor:
    return torch.cat([part for part in parts if part is not None])


def open_renderer(
    base: Path, spec: RenderSpec, device: str = "auto", *, batch: int | None = None
) -> DiffusersRenderer:
    """Load a base (diffusers folder or single file) and keep it resident.

    `batch` renders are denoised together (unset: by their size); it changes speed and memory, not
    what is asked for.
    Raises WeightsError when the base is not SDXL, RenderError when the size does not fit it.
    """
    pipe, chosen = load_pipeline(base, spec, device)
    multiple = pipe.vae_scale_factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    for name, side in (("width_px", spec.width_px), ("height_px", spec.height_px)):
        if side % multiple:
            raise RenderError(
                f"{name} = {side} is not a multiple of {multiple}",
                where="[render]",
                expected=f"{side // multiple * multiple} or {(side // multiple + 1) * multiple}",
            )
    if batch is None:
        latents = (spec.width_px // pipe.vae_scale_factor) * (
            spec.height_px // pipe.vae_scale_factor
        )
        batch = max(1, min(_BATCH_MOST, _BATCH_LATENTS // latents))
    return DiffusersRenderer(pipe, spec, chosen, batch)
