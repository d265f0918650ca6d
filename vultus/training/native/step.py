"""One optimizer step: noise the latents, let the UNet guess, correct the LoRA.

A step sees `accumulate` batches; a batch is computed in `split` parts. Both only add gradients up, and
every draw is made for the whole batch, so another split is the same training in less memory.

Notation
    x_0         clean latents                  (batch, channels, h, w) float32
    eps         the noise that was added       same shape, unit normal
    a_t         share of signal at step t      alphas_bar[t]
    x_t         sqrt(a_t) x_0 + sqrt(1 - a_t) eps
    v           sqrt(a_t) eps - sqrt(1 - a_t) x_0, the target of v-prediction bases
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from vultus.core.errors import TrainingError
from vultus.core.seeds import seed_of
from vultus.training.native import losses
from vultus.training.native.data import Captions, Text, Views, captions_of
from vultus.training.native.identity import Identity, clean_guess
from vultus.training.native.lora import Lora, without_lora
from vultus.training.native.optimizers import set_rate
from vultus.training.native.order import BatchOrder
from vultus.training.native.parts import Parts
from vultus.training.records import TrainSpec

__all__ = ["Bench", "probe", "train_step"]


@dataclass
class Bench:
    """Everything a step needs, prepared once."""

    spec: TrainSpec
    parts: Parts
    views: Views
    captions: Captions
    order: BatchOrder
    lora: Lora
    optimizer: torch.optim.Optimizer
    parameters: list[torch.nn.Parameter]
    device: torch.device
    seed: int
    identity: Identity | None = None
    optimizer_bytes: int = 0
    """what the optimizer will hold after its first step"""


@dataclass(frozen=True)
class _Batch:
    """What was drawn for one batch, or a part of it."""

    rows: Sequence[int]
    words: Sequence[int]
    x_t: torch.Tensor
    t: torch.Tensor
    a_t: torch.Tensor
    target: torch.Tensor

    def part(self, start: int, end: int) -> _Batch:
        cut = slice(start, end)
        return _Batch(
            self.rows[cut],
            self.words[cut],
            self.x_t[cut],
            self.t[cut],
            self.a_t[cut],
            self.target[cut],
        )


def train_step(bench: Bench, step: int) -> float:
    """One optimizer step; returns its loss. Raises TrainingError when that is not a number."""
    spec = bench.spec
    set_rate(bench.optimizer, spec, step)
    bench.optimizer.zero_grad(set_to_none=True)
    value = sum(_add_gradients(bench, step, turn) for turn in range(spec.accumulate))
    # prodigy_plus scales its own updates (StableAdamW): clipping would mislead its estimate
    if spec.gradient_clip > 0 and spec.optimizer != "prodigy_plus":
        torch.nn.utils.clip_grad_norm_(bench.parameters, spec.gradient_clip)
    bench.optimizer.step()
    return value / spec.accumulate


def _add_gradients(bench: Bench, step: int, turn: int) -> float:
    """Forward and backward of one batch; returns its loss."""
    spec = bench.spec
    batch = _draw(bench, step, turn)
    count = len(batch.rows)
    size = -(-count // min(spec.split, count))
    value = 0.0
    for start in range(0, count, size):
        part = batch.part(start, start + size)
        loss = _loss(bench, part, step)
        found = float(loss.detach())
        if found != found or found == float("inf"):
            raise TrainingError(
                f"the loss is no longer a number at step {step + 1}",
                expected="a falling loss",
                next_command="lower train.learning_rate in vultus.toml",
            )
        # a short batch at a bucket's end weighs less, so that every picture counts the same
        (loss * (len(part.rows) / (spec.batch * spec.accumulate))).backward()
        value += found * (len(part.rows) / count)
    return value


def probe(bench: Bench, steps: int = 3) -> None:
    """Forward and backward on the bucket that takes most, with what the optimizer will hold held already.

    It runs out of memory here or not at all, before anything was trained. Nothing is changed: no optimizer step is
    taken, gradients are dropped, and its draws have a name of their own.
    """
    spec = bench.spec

    def latents(bucket: Sequence[int]) -> int:
        part = -(-min(len(bucket), spec.batch) // spec.split)
        return bench.views.views[bucket[0]].latents.numel() * part

    largest = max(bench.views.buckets, key=latents)
    rows = largest[: -(-min(len(largest), spec.batch) // spec.split)]
    state = torch.empty(bench.optimizer_bytes, dtype=torch.uint8, device=bench.device)
    for turn in range(steps):
        batch = _drawn(bench, rows, ("probe", turn))
        # a step in which everything is asked for that any step asks for
        _loss(bench, batch, spec.steps * spec.identity_every * max(spec.prior_every, 1)).backward()
    bench.optimizer.zero_grad(set_to_none=True)
    del state


def _draw(bench: Bench, step: int, turn: int) -> _Batch:
    """Pictures, noise, timesteps and hidden captions of a batch, drawn on the CPU.

    The same seed gives the same noise on every device.
    """
    rows = bench.order.at(step * bench.spec.accumulate + turn)
    place = ("step", step, "turn", turn) if turn else ("step", step)
    return _drawn(bench, rows, place)


def _drawn(bench: Bench, rows: Sequence[int], place: Sequence[str | int]) -> _Batch:
    draw = torch.Generator().manual_seed(seed_of("training", bench.seed, *place))
    x_0, eps = _latents_and_noise(bench, rows, draw)
    t = _timesteps(len(rows), len(bench.parts.alphas_bar), draw).to(bench.device)
    words = list(rows)
    if bench.spec.caption_dropout > 0:
        luck = torch.rand(len(rows), generator=draw).tolist()
        words = [
            bench.captions.absent if u < bench.spec.caption_dropout else row
            for row, u in zip(rows, luck, strict=True)
        ]
    a_t = bench.parts.alphas_bar[t]
    a = a_t[:, None, None, None]
    x_t = a.sqrt() * x_0 + (1 - a).sqrt() * eps
    target = eps
    if bench.parts.prediction == "v_prediction":
        target = a.sqrt() * eps - (1 - a).sqrt() * x_0
    return _Batch(rows, words, x_t, t, a_t, target)


def _latents_and_noise(
    bench: Bench, rows: Sequence[int], draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of a batch, sampled anew from the VAE's posterior where it has one, and noise."""
    views = [bench.views.views[i] for i in rows]
    x_0 = torch.stack([view.latents for view in views])
    spreads = [view.spread for view in views if view.spread is not None]
    if spreads:
        jitter = torch.randn(x_0.shape, generator=draw).to(bench.device)
        x_0 = x_0 + torch.stack(spreads) * jitter
    return x_0, torch.randn(x_0.shape, generator=draw).to(bench.device)


def _timesteps(count: int, timesteps: int, draw: torch.Generator) -> torch.Tensor:
    """One timestep per picture, one from each equal slice of the schedule, in random order.

    Each is uniform on its own, as in plain training, but no batch sees only easy noise: the loss
    of a small batch varies far less, at no cost.
    """
    place = torch.randperm(count, generator=draw) + torch.rand(count, generator=draw)
    return (place * (timesteps / count)).long().clamp_(0, timesteps - 1)


def _guess(bench: Bench, batch: _Batch) -> torch.Tensor:
    """What the networks say about a batch, LoRA and all."""
    with _precision(bench.spec, bench.device):
        text: Text = captions_of(bench.parts, bench.captions, batch.words)
        found: torch.Tensor = bench.parts.unet(
            batch.x_t,
            batch.t,
            encoder_hidden_states=text.text,
            added_cond_kwargs={
                "text_embeds": text.pooled,
                "time_ids": torch.stack([bench.views.views[i].time_ids for i in batch.rows]),
            },
            return_dict=False,
        )[0]
    return found.float()


def _precision(spec: TrainSpec, device: torch.device) -> AbstractContextManager[Any]:
    """The frozen base computes in bf16 where asked; LoRA weights and the loss stay float32."""
    if spec.precision != "fp32":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _loss(bench: Bench, batch: _Batch, step: int) -> torch.Tensor:
    """The mean loss of a batch, as the spec defines it."""
    guess = _guess(bench, batch)
    taught = _identity_term(bench, batch, guess, step)
    loss = _noise_loss(bench, batch, guess, step)
    return loss if taught is None else loss + bench.spec.identity_weight * taught


def _identity_term(
    bench: Bench, batch: _Batch, guess: torch.Tensor, step: int
) -> torch.Tensor | None:
    """How far the faces of the cleaned-up guess are from the person; None in a step that does not ask."""
    spec = bench.spec
    if bench.identity is None or step % spec.identity_every:
        return None
    if step < spec.identity_from * spec.steps:
        return None
    share = batch.t.float() / len(bench.parts.alphas_bar)
    taper = losses.identity_taper(share, spec.identity_below_t / 1000)
    x_0 = clean_guess(guess, batch.x_t, batch.a_t, bench.parts.prediction)
    return bench.identity.term(x_0, batch.rows, taper)


def _noise_loss(bench: Bench, batch: _Batch, guess: torch.Tensor, step: int) -> torch.Tensor:
    spec = bench.spec
    if spec.loss == "plain" and spec.weighting == "plain" and spec.face_weight <= 1:
        return torch.nn.functional.mse_loss(guess, batch.target)
    error = _error(spec, guess, batch.target)
    if spec.face_weight > 1:
        each = _face_error(bench, batch, guess, error, step)
    else:
        each = losses.per_picture(error)
    return (each * _weight(bench, batch)).mean()


def _error(spec: TrainSpec, guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if spec.loss == "huber":
        return losses.huber_error(guess, target, spec.huber_c)
    return losses.squared_error(guess, target)


def _weight(bench: Bench, batch: _Batch) -> torch.Tensor:
    spec, prediction = bench.spec, bench.parts.prediction
    if spec.weighting == "min_snr":
        return losses.min_snr_weight(batch.a_t, spec.min_snr_gamma, prediction)
    if spec.weighting == "debiased":
        return losses.debiased_weight(batch.a_t, prediction)
    return torch.ones_like(batch.a_t)


def _face_error(
    bench: Bench, batch: _Batch, guess: torch.Tensor, error: torch.Tensor, step: int
) -> torch.Tensor:
    """The error of each picture with its face weighted, now and then pinned to the base around it."""
    spec = bench.spec
    mask = torch.stack([bench.views.views[i].face for i in batch.rows])
    ramp = losses.face_ramp(batch.a_t) if spec.face_ramp else torch.ones_like(batch.a_t)
    weight = losses.face_weights(mask, spec.face_weight, ramp)
    if not spec.prior_every or step % spec.prior_every:
        return losses.face_error(error, weight)
    with torch.no_grad(), without_lora(bench.lora):
        base = _guess(bench, batch)
    prior = _error(spec, guess, base)
    return losses.face_error(error, weight, prior_error=prior, mask=mask, ramp=ramp)
