"""Training a LoRA on one persona, from top to bottom.

    pictures, captions --(frozen VAE, frozen text encoders, once)--> latents, conditioning
    every step: noise the latents, let the UNet guess the noise, correct the LoRA
    now and then: save the state;  at equal distances: write a checkpoint

What is trained: attention, feed-forward and projection layers of the UNet, as kohya's standard
LoRA does; with `conv_rank` its convolutions too (LoCon), with `text_encoders` both text encoders.
What is not done, on purpose: no flips (a face is not symmetric), no colour changes, no class
pictures, no averaging of weights.

**Exact resume.** Every draw comes from a stream named by the seed and the step, the batch order is
a pure function of both, and the state file is replaced atomically. A training killed at any line
and started again ends, on the same machine and CPU, with the same bits in its checkpoints.

Cost, full-size SDXL, rank 16, 256 px, two CPU cores: 13 CPU-s a step and 7.3 GiB; stand-in base:
about 0.1 CPU-s a step.

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vultus.core.clock import SystemClock
from vultus.core.errors import TrainingError
from vultus.core.files import sweep_leftovers
from vultus.core.keys import file_content_id, key_of
from vultus.core.seeds import seed_of
from vultus.core.weights import light_print
from vultus.training.lora_file import LoraFacts, checkpoint_path, lora_metadata, write_lora
from vultus.training.native.checkpoint import STATE_NAME, check_state, load_state, save_state
from vultus.training.native.data import (
    Captions,
    Text,
    Views,
    captions_of,
    encode_captions,
    encode_pictures,
)
from vultus.training.native.export import is_full_size, kohya_tensors
from vultus.training.native.lora import Lora, attach_lora
from vultus.training.native.optimizers import make_optimizer, set_rate
from vultus.training.native.order import BatchOrder
from vultus.training.native.parts import Parts, choose_device, load_parts
from vultus.training.records import (
    CheckpointRecord,
    Progress,
    TrainPicture,
    TrainResult,
    TrainSpec,
)

__all__ = ["train"]

# raised by hand when the same spec and seed would give other weights
RECIPE_VERSION = 1


@dataclass
class _Bench:
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


def train(
    spec: TrainSpec,
    base: Path,
    pictures: Sequence[TrainPicture],
    out: Path,
    seed: int,
    progress: Progress | None = None,
    *,
    device: str = "auto",
    name: str = "lora",
    state_every_steps: int = 50,
) -> TrainResult:
    """Train, and leave the checkpoints in `out`; a half-done training there is continued.

    `progress` advances by one per step (its total is `spec.steps`). Raises WeightsError for a base
    that is not SDXL, PictureError for an unreadable picture, TrainingError when there is nothing
    to train on, when `out` holds another training's state, or when the loss is no longer a number.
    """
    if not pictures:
        raise TrainingError("there is no picture to train on", expected="at least one picture")
    out.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(out)
    fingerprint = _fingerprint(spec, base, pictures, seed)
    check_state(out / STATE_NAME, fingerprint)
    bench = _prepare(spec, base, pictures, seed, choose_device(device))
    resumed = load_state(out / STATE_NAME, lora=bench.lora, optimizer=bench.optimizer)
    start = resumed.step if resumed else 0
    losses = resumed.losses if resumed else []
    if progress and start:
        progress.advance(start, "resumed", remembered=True)

    facts = {"name": name, "base_name": base.stem, "pictures": len(pictures), "seed": seed}
    clock = SystemClock()
    began_s = clock.monotonic()
    for step in range(start, spec.steps):
        losses.append(_step(bench, step))
        done = step + 1
        if done in spec.checkpoint_steps:
            _write_checkpoint(bench, out, done, facts)
        if done == spec.steps or done in spec.checkpoint_steps or done % state_every_steps == 0:
            save_state(
                out / STATE_NAME,
                lora=bench.lora,
                optimizer=bench.optimizer,
                losses=losses,
                step=done,
                fingerprint=fingerprint,
            )
        if progress:
            recent = losses[-20:]
            progress.advance(1, f"loss {sum(recent) / len(recent):.3f}")
    return TrainResult(
        checkpoints=tuple(
            CheckpointRecord(step, checkpoint_path(out, step)) for step in spec.checkpoint_steps
        ),
        losses=[(i + 1, loss) for i, loss in enumerate(losses)],
        seconds=clock.monotonic() - began_s,
        resumed_from=start,
        notes=bench.captions.notes,
    )


def _prepare(
    spec: TrainSpec, base: Path, pictures: Sequence[TrainPicture], seed: int, device: torch.device
) -> _Bench:
    """Load the base, encode the dataset, attach the LoRA."""
    dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
    parts = load_parts(base, dtype, device)
    views = encode_pictures(parts, pictures, spec.resolution_px, device)
    captions = encode_captions(parts, pictures, cache=not spec.text_encoders, device=device)
    parts.vae = None  # 0.3 GB of SDXL that no step needs
    lora = attach_lora(parts, spec, seed)
    if not spec.text_encoders:
        parts.text_encoder = parts.text_encoder_2 = None  # another 3 GB
    if spec.gradient_checkpointing:
        # it acts in training mode only; there is no dropout in this UNet that the mode would wake
        parts.unet.enable_gradient_checkpointing()
        parts.unet.train()
    parameters = [parameter for _, parameter in lora.named_parameters()]
    return _Bench(
        spec=spec,
        parts=parts,
        views=views,
        captions=captions,
        order=BatchOrder(views.buckets, spec.batch, seed),
        lora=lora,
        optimizer=make_optimizer(spec, parameters),
        parameters=parameters,
        device=device,
        seed=seed,
    )


def _step(bench: _Bench, step: int) -> float:
    """One optimizer step; returns its loss."""
    spec = bench.spec
    rows = bench.order.at(step)
    draw = torch.Generator().manual_seed(seed_of("training", bench.seed, "step", step))
    x_0, eps = _latents_and_noise(bench, rows, draw)
    t = _timesteps(len(rows), len(bench.parts.alphas_bar), draw).to(bench.device)
    text = _conditioning(bench, rows, draw)
    a_t = bench.parts.alphas_bar[t][:, None, None, None]
    x_t = a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps
    target = eps
    if bench.parts.prediction == "v_prediction":
        target = a_t.sqrt() * eps - (1 - a_t).sqrt() * x_0

    set_rate(bench.optimizer, spec, step)
    bench.optimizer.zero_grad(set_to_none=True)
    with _precision(spec, bench.device):
        guess = bench.parts.unet(
            x_t,
            t,
            encoder_hidden_states=text.text,
            added_cond_kwargs={
                "text_embeds": text.pooled,
                "time_ids": torch.stack([bench.views.views[i].time_ids for i in rows]),
            },
            return_dict=False,
        )[0]
    loss = torch.nn.functional.mse_loss(guess.float(), target)
    value = float(loss.detach())
    if value != value or value == float("inf"):
        raise TrainingError(
            f"the loss is no longer a number at step {step + 1}",
            expected="a falling loss",
            next_command="lower train.learning_rate in vultus.toml",
        )
    # a short batch at a bucket's end weighs less, so that every picture counts the same
    (loss * (len(rows) / spec.batch)).backward()
    if spec.gradient_clip > 0:
        torch.nn.utils.clip_grad_norm_(bench.parameters, spec.gradient_clip)
    bench.optimizer.step()
    return value


def _latents_and_noise(
    bench: _Bench, rows: Sequence[int], draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of a batch, sampled anew from the VAE's posterior where it has one, and noise.

    Drawn on the CPU: the same seed gives the same noise on every device.
    """
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


def _conditioning(bench: _Bench, rows: Sequence[int], draw: torch.Generator) -> Text:
    """Captions of a batch, some of them hidden when the spec says so."""
    chosen = list(rows)
    if bench.spec.caption_dropout > 0:
        luck = torch.rand(len(rows), generator=draw).tolist()
        chosen = [
            bench.captions.absent if u < bench.spec.caption_dropout else row
            for row, u in zip(rows, luck, strict=True)
        ]
    with _precision(bench.spec, bench.device):
        return captions_of(bench.parts, bench.captions, chosen)


def _precision(spec: TrainSpec, device: torch.device) -> AbstractContextManager[Any]:
    """The frozen base computes in bf16 where asked; LoRA weights and the loss stay float32."""
    if spec.precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _write_checkpoint(bench: _Bench, out: Path, step: int, facts: dict[str, Any]) -> None:
    about = LoraFacts(
        full_size=is_full_size(bench.parts.unet.config),
        prediction=bench.parts.prediction,
        step=step,
        epoch=bench.order.epoch_of(step - 1) + 1,
        **facts,
    )
    metadata = lora_metadata(bench.spec, about)
    write_lora(checkpoint_path(out, step), kohya_tensors(bench.lora), metadata)


def _fingerprint(spec: TrainSpec, base: Path, pictures: Sequence[TrainPicture], seed: int) -> str:
    """Everything that the weights depend on; a state made from anything else is refused."""
    seen = [
        {
            "file": file_content_id(picture.path),
            "caption": picture.caption,
            "size": list(picture.original_size),
            "crop": list(picture.crop) if picture.crop else None,
        }
        for picture in pictures
    ]
    inputs = {"spec": asdict(spec), "base": light_print(base), "pictures": seen, "seed": seed}
    return key_of("training", RECIPE_VERSION, inputs)
