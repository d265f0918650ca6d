"""Training a LoRA on one persona, from top to bottom.

    pictures, captions --(frozen VAE, frozen text encoders, once)--> latents, conditioning
    every step: noise the latents, let the UNet guess the noise, correct the LoRA
    now and then: save the state;  at equal distances: write a checkpoint

What is trained: attention, feed-forward and projection layers of the UNet, as kohya's standard
LoRA does; with `conv_rank` its convolutions too (LoCon), with `text_encoders` both text encoders.
What is not done, on purpose: no flips (a face is not symmetric), no colour changes, no class
pictures, no averaging of weights. One step stands in `step.py`, its losses in `losses.py`.

**Exact resume.** Every draw comes from a stream named by the seed and the step, the batch order is
a pure function of both, and the state file is replaced atomically. A training killed at any line
and started again ends, on the same machine and CPU, with the same bits in its checkpoints.

**Memory.** On a card three forward and backward passes of the largest bucket come first. When memory
runs out, the next rung of `training.ladder` is taken and the training goes on from its last state.

Cost, full-size SDXL, rank 16, 256 px, two CPU cores: 13 CPU-s a step and 7.3 GiB; stand-in base:
about 0.1 CPU-s a step.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vultus.core.clock import SystemClock
from vultus.core.errors import TrainingError
from vultus.core.files import sweep_leftovers
from vultus.core.keys import file_content_id
from vultus.core.weights import light_print
from vultus.faces.packs import find_pack
from vultus.training.checks import faces_wanted_by, refuse_contradictions
from vultus.training.estimate import optimizer_bytes, refuse_hopeless
from vultus.training.ladder import Rung, apply_rungs, next_rung, read_rungs, write_rungs
from vultus.training.lora_file import LoraFacts, checkpoint_path, lora_metadata, write_lora
from vultus.training.native.checkpoint import STATE_NAME, check_state, load_state, save_state
from vultus.training.native.data import encode_captions, encode_pictures, refuse_hidden_faces
from vultus.training.native.export import is_full_size, kohya_tensors
from vultus.training.native.identity import open_identity
from vultus.training.native.lora import attach_lora, configs_of
from vultus.training.native.optimizers import make_optimizer, weights_for_use
from vultus.training.native.order import BatchOrder
from vultus.training.native.parts import choose_device, keep_in_fp8, load_parts
from vultus.training.native.step import Bench, probe, train_step
from vultus.training.records import (
    CheckpointRecord,
    Progress,
    TrainPicture,
    TrainResult,
    TrainSpec,
)
from vultus.training.views import expand_views

__all__ = ["train"]

# raised by hand when the same spec and seed would give other weights
RECIPE_VERSION = 1


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
    until: int | None = None,
) -> TrainResult:
    """Train, and leave the checkpoints in `out`; a half-done training there is continued.

    With `until` it stops after that step as if it had been killed there: its state goes on later, bit for bit.

    `progress` advances by one per step (its total is `spec.steps`). Raises WeightsError for a base
    that is not SDXL, PictureError for an unreadable picture, TrainingError when there is nothing
    to train on, when settings contradict each other, when `out` holds another training's state, when
    memory runs out at the ladder's end, or when the loss is no longer a number.
    """
    refuse_contradictions(spec, pictures)
    taken = len(pictures)
    pictures, told = expand_views(spec, pictures)
    out.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(out)
    request = _request(spec, base, pictures, seed)
    check_state(out / STATE_NAME, request)
    rungs = read_rungs(out)
    facts = {"name": name, "base_name": base.stem, "pictures": taken, "seed": seed}
    while True:
        facts["rungs"] = tuple(rungs)
        try:
            effective = apply_rungs(spec, rungs)
            # no name for the bench here: it would outlive the failed try
            return _run(
                _prepare(effective, base, pictures, seed, choose_device(device)),
                out,
                request,
                facts,
                progress,
                state_every_steps,
                told,
                spec.steps if until is None else min(until, spec.steps),
            )
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
        # outside of the handler: the traceback would keep every tensor of the failed try alive
        rung = _step_down(apply_rungs(spec, rungs), out, rungs)
        if progress:
            progress.advance(0, f"out of memory: {rung.what}")


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)  # torch's allocator for the CPU has no class of its own
    return "not enough memory" in text or "can't allocate memory" in text


def _step_down(spec: TrainSpec, out: Path, rungs: list[str]) -> Rung:
    """Take the next rung: remember it, and drop a state that would not fit it."""
    rung = next_rung(spec)
    if rung is None:
        raise TrainingError(
            "the training does not fit into memory, and nothing is left to give up",
            where=f"after {', '.join(rungs) or 'the first try'}",
            expected="more memory, a smaller train.resolution_px or train.rank, or bf16",
            next_command='set train.precision = "bf16" in vultus.toml, and free the card',
        )
    rungs.append(rung.name)
    write_rungs(out, rungs)
    if not rung.keeps_state:
        (out / STATE_NAME).unlink(missing_ok=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return rung


def _run(
    bench: Bench,
    out: Path,
    request: dict[str, Any],
    facts: dict[str, Any],
    progress: Progress | None,
    state_every_steps: int,
    told: Sequence[str],
    end: int,
) -> TrainResult:
    """The loop, from the last state to the step `end`."""
    spec = bench.spec
    resumed = load_state(out / STATE_NAME, lora=bench.lora, optimizer=bench.optimizer)
    start = resumed.step if resumed else 0
    losses = resumed.losses if resumed else []
    if not start and bench.device.type == "cuda":
        probe(bench)
    if progress and start:
        progress.advance(start, "resumed", remembered=True)
    clock = SystemClock()
    began_s = clock.monotonic()
    for step in range(start, end):
        losses.append(train_step(bench, step))
        done = step + 1
        if done in spec.checkpoint_steps:
            _write_checkpoint(bench, out, done, facts)
        if done == end or done in spec.checkpoint_steps or done % state_every_steps == 0:
            save_state(
                out / STATE_NAME,
                lora=bench.lora,
                optimizer=bench.optimizer,
                losses=losses,
                step=done,
                request=request,
            )
        if progress:
            recent = losses[-20:]
            progress.advance(1, f"loss {sum(recent) / len(recent):.3f}")
    rungs = tuple(f"memory: gave up {rung}" for rung in facts["rungs"])
    return TrainResult(
        checkpoints=tuple(
            CheckpointRecord(step, checkpoint_path(out, step))
            for step in spec.checkpoints_until(end)
            # a training that goes on from another folder's state has its earlier ones there
            if checkpoint_path(out, step).exists()
        ),
        losses=[(i + 1, loss) for i, loss in enumerate(losses)],
        seconds=clock.monotonic() - began_s,
        resumed_from=start,
        notes=(*told, *bench.captions.notes, *rungs),
    )


def _prepare(
    spec: TrainSpec, base: Path, pictures: Sequence[TrainPicture], seed: int, device: torch.device
) -> Bench:
    """Load the base, encode the dataset, attach the LoRA."""
    parts = load_parts(base, torch.float32 if spec.precision == "fp32" else torch.bfloat16, device)
    configs = configs_of(parts)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        refuse_hopeless(spec, configs, pictures=len(pictures), free=free)
    views = encode_pictures(parts, pictures, spec.resolution_px, device)
    captions = encode_captions(parts, pictures, cache=not spec.text_encoders, device=device)
    if faces_wanted_by(spec):
        refuse_hidden_faces(pictures, views)
    identity = open_identity(spec, parts, pictures, views)
    parts.vae = (
        None  # 0.3 GB of SDXL that no step needs; the identity loss keeps its own hold of it
    )
    if spec.precision == "fp8":
        keep_in_fp8(parts)  # before the LoRA is there: that stays in float32
    lora = attach_lora(parts, spec, seed)
    if not spec.text_encoders:
        parts.text_encoder = parts.text_encoder_2 = None  # another 3 GB
    if spec.gradient_checkpointing:
        # it acts in training mode only; there is no dropout in this UNet that the mode would wake
        parts.unet.enable_gradient_checkpointing()
        parts.unet.train()
    parameters = [parameter for _, parameter in lora.named_parameters()]
    return Bench(
        spec=spec,
        parts=parts,
        views=views,
        captions=captions,
        order=BatchOrder(views.buckets, spec.batch, seed),
        lora=lora,
        optimizer=make_optimizer(spec, lora),
        parameters=parameters,
        device=device,
        seed=seed,
        identity=identity,
        optimizer_bytes=optimizer_bytes(spec, configs),
    )


def _write_checkpoint(bench: Bench, out: Path, step: int, facts: dict[str, Any]) -> None:
    spec, order = bench.spec, bench.order
    about = LoraFacts(
        full_size=is_full_size(bench.parts.unet.config),
        prediction=bench.parts.prediction,
        step=step,
        epoch=order.epoch_of(step * spec.accumulate - 1) + 1,
        batches_per_epoch=order.batches_per_epoch,
        buckets=bench.views.sizes,
        recognisers=(bench.identity.recogniser,) if bench.identity else (),
        **facts,
    )
    with weights_for_use(bench.optimizer, bench.parameters):
        tensors = kohya_tensors(bench.lora, spec.save_precision)
    write_lora(checkpoint_path(out, step), tensors, lora_metadata(spec, about))


def _request(
    spec: TrainSpec, base: Path, pictures: Sequence[TrainPicture], seed: int
) -> dict[str, Any]:
    """Everything that the weights depend on; a state made from anything else is refused."""
    seen = [
        {
            "file": file_content_id(picture.path),
            "caption": picture.caption,
            "size": list(picture.original_size),
            "crop": list(picture.crop) if picture.crop else None,
            "faces": [list(box) for box in picture.faces] if faces_wanted_by(spec) else [],
            "points": [list(p) for p in picture.points] if spec.identity_weight > 0 else [],
        }
        for picture in pictures
    ]
    taught = find_pack(spec.identity_recogniser).digest if spec.identity_weight > 0 else ""
    return {
        "recipe": RECIPE_VERSION,
        "spec": asdict(spec),
        "base": light_print(base),
        "pictures": seen,
        "seed": seed,
        "identity": taught,
    }
