"""From what a training is asked for to kohya's command line and dataset file.

Both are pure functions of the spec and of paths: a golden test compares them whole. What kohya cannot do is refused
with its name, never left out in silence.

Sources: kohya-ss/sd-scripts 48d368fa, `train_network.py` and `library/train_util.py` (arguments),
`library/config_util.py` (dataset file), `library/custom_train_functions.py` (the mask multiplies the loss and is not
normalised).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vultus.core.errors import TrainingError
from vultus.training.records import TrainSpec

__all__ = ["Places", "arguments", "dataset_toml", "refuse_unknown_to_kohya", "save_every"]

NAME = "vultus"
"""--output_name: checkpoints are NAME-step00000100.safetensors, the last one NAME.safetensors."""
BUCKET_STEP_PX = 64
_OPTIMIZERS = {
    "adamw": ("AdamW", ("betas=0.9,0.99",)),
    "adamw8bit": ("AdamW8bit", ("betas=0.9,0.99",)),
    "prodigy": ("Prodigy", ("betas=0.9,0.99", "use_bias_correction=True", "safeguard_warmup=True")),
    "prodigy_plus": ("prodigyplus.ProdigyPlusScheduleFree", ("betas=0.9,0.99",)),
    "adafactor": ("AdaFactor", ("relative_step=False", "scale_parameter=False", "warmup_init=False")),
}  # fmt: skip


@dataclass(frozen=True)
class Places:
    """Where kohya finds its inputs and leaves its outputs."""

    base: Path
    dataset: Path
    """the dataset file"""
    out: Path
    tokenizers: Path | None = None
    """folder with both CLIP tokenizers; None lets kohya ask its cache"""


def _faults(spec: TrainSpec) -> Iterator[tuple[str, str]]:
    if spec.targets != "kohya":
        yield f'targets = "{spec.targets}"', 'train.targets = "kohya"'
    if spec.dora or spec.rslora:
        yield "DoRA and rsLoRA", "train.dora and rslora left out"
    if spec.text_encoders and (spec.encoders != "both" or spec.encoder_targets != "kohya"):
        yield "a part of the text encoders", "train.encoders and encoder_targets left out"
    if spec.identity_weight > 0:
        yield "an identity loss", "train.identity_weight = 0"
    if spec.prior_every:
        yield "the base as target around the face", "train.prior_every = 0"
    if spec.face_weight > 1 and spec.face_ramp:
        yield "a face weight that fades with the noise", "train.face_ramp = false"
    if spec.split > 1:
        yield "a batch in parts", "train.split = 1, a smaller batch and accumulate"
    if spec.caption_dropout > 0 and not spec.text_encoders:
        yield "hidden captions where text is cached", "train.caption_dropout = 0"
    if spec.steps % min(spec.checkpoints, spec.steps):
        yield "checkpoints at unequal distances", "train.steps a multiple of train.checkpoints"


def refuse_unknown_to_kohya(spec: TrainSpec) -> None:
    """Raise TrainingError with everything of a spec that kohya's script has no word for."""
    found = list(_faults(spec))
    if found:
        raise TrainingError(
            f"kohya's trainer does not know {'; '.join(what for what, _ in found)}",
            where="[train]",
            expected="; ".join(expected for _, expected in found),
            next_command='change these keys in vultus.toml, or set trainer = "native"',
        )


def save_every(spec: TrainSpec) -> int:
    """Steps between two checkpoints."""
    return spec.steps // min(spec.checkpoints, spec.steps)


def arguments(spec: TrainSpec, places: Places, seed: int) -> list[str]:
    """Everything after the name of the script."""
    words = [
        *_network(spec),
        *_optimizer(spec),
        *_loss(spec),
        f"--pretrained_model_name_or_path={places.base}",
        f"--dataset_config={places.dataset}",
        f"--output_dir={places.out}",
        f"--output_name={NAME}",
        f"--max_train_steps={spec.steps}",
        f"--save_every_n_steps={save_every(spec)}",
        f"--save_precision={ {'fp32': 'float'}.get(spec.save_precision, spec.save_precision) }",
        "--save_model_as=safetensors",
        f"--seed={seed % 2**31}",
        f"--gradient_accumulation_steps={spec.accumulate}",
        f"--mixed_precision={'no' if spec.precision == 'fp32' else 'bf16'}",
        "--no_half_vae",
        "--sdpa",
        "--cache_latents",
        "--max_data_loader_n_workers=0",
    ]
    if spec.precision == "fp8":
        words.append("--fp8_base_unet")
    if spec.gradient_checkpointing:
        words.append("--gradient_checkpointing")
    if spec.private:
        words.append("--no_metadata")
    if places.tokenizers is not None:
        words.append(f"--tokenizer_cache_dir={places.tokenizers}")
    return words


def _network(spec: TrainSpec) -> list[str]:
    words = [
        "--network_module=networks.lora",
        f"--network_dim={spec.rank}",
        f"--network_alpha={spec.alpha:g}",
    ]
    if spec.conv_rank:
        conv = (f"conv_dim={spec.conv_rank}", f"conv_alpha={spec.scaled_conv_alpha:g}")
        words += ["--network_args", *conv]
    if not spec.text_encoders:
        words += ["--network_train_unet_only", "--cache_text_encoder_outputs"]
    return words


def _optimizer(spec: TrainSpec) -> list[str]:
    kind, options = _OPTIMIZERS[spec.optimizer]
    more = [*options, f"weight_decay={spec.weight_decay:g}"]
    if spec.optimizer == "prodigy" and spec.slice_p > 1:
        more.append(f"slice_p={spec.slice_p}")
    if spec.optimizer in {"prodigy", "prodigy_plus"} and spec.d_coef != 1:
        more.append(f"d_coef={spec.d_coef:g}")
    words = [
        f"--optimizer_type={kind}",
        "--optimizer_args",
        *more,
        f"--learning_rate={spec.peak_rate:g}",
        f"--unet_lr={spec.peak_rate:g}",
        f"--lr_scheduler={spec.schedule}",
        f"--lr_warmup_steps={spec.warmup_steps}",
        f"--max_grad_norm={0 if spec.optimizer == 'prodigy_plus' else spec.gradient_clip:g}",
    ]
    if spec.text_encoders:
        # both rates in kohya's order: CLIP-L, bigG (its own documentation swaps the names)
        words += ["--text_encoder_lr", f"{spec.text_rate:g}", f"{spec.text_rate:g}"]
    return words


def _loss(spec: TrainSpec) -> list[str]:
    words: list[str] = []
    if spec.loss == "huber":
        words += ["--loss_type=huber", "--huber_schedule=constant", f"--huber_c={spec.huber_c:g}"]
    if spec.weighting == "min_snr":
        words.append(f"--min_snr_gamma={spec.min_snr_gamma:g}")
    if spec.weighting == "debiased":
        words.append("--debiased_estimation_loss")
    if spec.face_weight > 1:
        words.append("--masked_loss")
    return words


def dataset_toml(spec: TrainSpec, pictures: Path) -> str:
    """kohya's dataset file: one folder of pictures with captions beside them, no flips, no crops at random."""
    rows = [
        "[[datasets]]",
        f"resolution = {spec.resolution_px}",
        f"batch_size = {spec.batch}",
        "enable_bucket = true",
        f"bucket_reso_steps = {BUCKET_STEP_PX}",
        f"min_bucket_reso = {max(BUCKET_STEP_PX, spec.resolution_px // 4)}",
        f"max_bucket_reso = {2 * spec.resolution_px}",
        "bucket_no_upscale = false",
        "",
        "[[datasets.subsets]]",
        f"image_dir = {json.dumps(str(pictures))}",
        'caption_extension = ".txt"',
        "num_repeats = 1",
        "flip_aug = false",
        "color_aug = false",
        "random_crop = false",
        "shuffle_caption = false",
        f"alpha_mask = {'true' if spec.face_weight > 1 else 'false'}",
    ]
    if spec.caption_dropout > 0:
        rows.append(f"caption_dropout_rate = {spec.caption_dropout:g}")
    return "\n".join(rows) + "\n"
