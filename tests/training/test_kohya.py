"""Kohya as a process: what it is told, word for word, and what is read back from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.core.errors import TrainingError
from vultus.tools.places import ToolPlace
from vultus.training.kohya import trainer
from vultus.training.kohya.command import (
    Places,
    arguments,
    dataset_toml,
    refuse_unknown_to_kohya,
)
from vultus.training.kohya.pictures import face_alpha, lay_out
from vultus.training.kohya.reading import Heard, lines_of
from vultus.training.presets import preset
from vultus.training.records import TrainPicture, TrainResult, TrainSpec

SPEC = TrainSpec(
    rank=16,
    alpha=8.0,
    steps=6,
    batch=2,
    checkpoints=3,
    optimizer="prodigy",
    slice_p=11,
    resolution_px=64,
    face_weight=5.0,
    face_ramp=False,
    weighting="min_snr",
    precision="bf16",
    gradient_checkpointing=True,
)
PLACES = Places(
    Path("/b/base.safetensors"), Path("/w/dataset.toml"), Path("/w/out"), Path("/t/tok")
)
GOLDEN = """\
--network_module=networks.lora
--network_dim=16
--network_alpha=8
--network_train_unet_only
--cache_text_encoder_outputs
--optimizer_type=Prodigy
--optimizer_args
betas=0.9,0.99
use_bias_correction=True
safeguard_warmup=True
weight_decay=0.01
slice_p=11
--learning_rate=1
--unet_lr=1
--lr_scheduler=constant
--lr_warmup_steps=0
--max_grad_norm=1
--min_snr_gamma=5
--masked_loss
--pretrained_model_name_or_path=/b/base.safetensors
--dataset_config=/w/dataset.toml
--output_dir=/w/out
--output_name=vultus
--max_train_steps=6
--save_every_n_steps=2
--save_precision=fp16
--save_model_as=safetensors
--seed=7
--gradient_accumulation_steps=1
--mixed_precision=bf16
--no_half_vae
--sdpa
--cache_latents
--max_data_loader_n_workers=0
--gradient_checkpointing
--tokenizer_cache_dir=/t/tok
"""
GOLDEN_TOML = """\
[[datasets]]
resolution = 64
batch_size = 2
enable_bucket = true
bucket_reso_steps = 64
min_bucket_reso = 64
max_bucket_reso = 128
bucket_no_upscale = false

[[datasets.subsets]]
image_dir = "/w/pictures"
caption_extension = ".txt"
num_repeats = 1
flip_aug = false
color_aug = false
random_crop = false
shuffle_caption = false
alpha_mask = true
"""
LOG = (
    "2026-01-01 INFO     load StableDiffusion checkpoint\n"
    "running training / 学習開始\n"
    "steps:   0%|          | 0/6 [00:00<?, ?it/s]\r"
    "steps:  17%|█▋        | 1/6 [00:02<00:10,  2.01s/it, avr_loss=0.25]\r"
    "steps:  17%|█▋        | 1/6 [00:02<00:10,  2.01s/it, avr_loss=0.25]\r"
    "steps:  50%|█████     | 3/6 [00:06<00:06,  2.01s/it, avr_loss=0.125]\n"
    "saving checkpoint: /w/out/vultus-step00000002.safetensors\n"
    "Could not load random states - you may have a different setup\n"
    "steps: 100%|██████████| 6/6 [00:12<00:00,  2.01s/it, avr_loss=0.1]"
)


def _picture(path: Path, size: tuple[int, int]) -> Path:
    """A picture of every grey; no network is needed here, and torch is dear to import."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = np.arange(size[0] * size[1] * 3, dtype=np.int64) % 251
    Image.fromarray(shown.reshape(size[1], size[0], 3).astype(np.uint8)).save(path)
    return path


def test_the_command_line_is_this_one() -> None:
    assert "\n".join(arguments(SPEC, PLACES, 7)) + "\n" == GOLDEN


def test_the_dataset_file_is_this_one() -> None:
    assert dataset_toml(SPEC, Path("/w/pictures")) == GOLDEN_TOML


def test_other_settings_have_their_words() -> None:
    spec = TrainSpec(
        text_encoders=True,
        text_learning_rate=5e-5,
        learning_rate=1e-4,
        conv_rank=8,
        loss="huber",
        weighting="debiased",
        caption_dropout=0.1,
        private=True,
        save_precision="fp32",
    )
    words = arguments(spec, PLACES, 2**40)
    told = " ".join(words)
    for one in (
        "--text_encoder_lr 5e-05 5e-05",
        "--network_args conv_dim=8 conv_alpha=4",
        "--loss_type=huber --huber_schedule=constant --huber_c=0.1",
        "--debiased_estimation_loss",
        "--no_metadata",
        "--save_precision=float",
        "--mixed_precision=no",
    ):
        assert one in told
    assert "--network_train_unet_only" not in words and "--masked_loss" not in words
    assert "caption_dropout_rate = 0.1" in dataset_toml(spec, Path("p"))
    seed = next(int(word.partition("=")[2]) for word in words if word.startswith("--seed="))
    assert 0 <= seed < 2**31


def test_what_kohya_does_not_know_is_refused_all_at_once() -> None:
    spec = replace(SPEC, dora=True, targets="attention", face_ramp=True, split=2, steps=7)
    with pytest.raises(TrainingError) as caught:
        refuse_unknown_to_kohya(spec)
    for words in ("DoRA", 'targets = "attention"', "fades", "in parts", "unequal distances"):
        assert words in caught.value.what
    refuse_unknown_to_kohya(SPEC)
    refuse_unknown_to_kohya(replace(preset("rtx4090-24g"), caption_dropout=0.0))


def test_its_progress_is_read() -> None:
    heard = Heard()
    new = [heard.hear(line) for line in lines_of([LOG.encode()[:137], LOG.encode()[137:]])]
    assert sum(new) == heard.step == 6
    assert heard.losses == [(1, 0.25), (3, 0.125), (6, 0.1)]
    assert heard.notes == ["kohya: Could not load random states - you may have a different setup"]
    assert not heard.out_of_memory and not heard.diverged
    assert heard.tail[-2].startswith("saving checkpoint")


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you tried",
    ],
)
def test_running_out_of_memory_is_recognised(line: str) -> None:
    heard = Heard()
    heard.hear(line)
    assert heard.out_of_memory


def test_the_face_is_in_the_alpha_channel(tmp_path: Path) -> None:
    path = _picture(tmp_path / "a.png", (64, 96))
    picture = TrainPicture(path, "photo of woman", (64, 96), faces=((16.0, 8.0, 48.0, 40.0),))
    view = replace(picture, crop=(8, 0, 56, 48), caption="close-up")
    lay_out(SPEC, [picture, view], tmp_path / "laid")
    with Image.open(tmp_path / "laid" / "00000.png") as whole, Image.open(path) as given:
        shown = np.asarray(whole)
        assert np.array_equal(shown[..., :3], np.asarray(given.convert("RGB")))
    assert shown[24, 32, 3] == 255 and shown[90, 32, 3] == 51
    with Image.open(tmp_path / "laid" / "00001.png") as crop:
        assert crop.size == (48, 48)
        assert np.asarray(crop)[24, 24, 3] == 255
    assert (tmp_path / "laid" / "00001.txt").read_text("utf-8") == "close-up\n"
    plain = face_alpha((10, 10), [], 5.0)
    assert plain.min() == plain.max() == 51


SCRIPT = """
import json, os, sys
words = sys.argv[1:]
told = dict(w[2:].partition("=")[::2] for w in words if w.startswith("--"))
out, steps, every = told["output_dir"], int(told["max_train_steps"]), int(told["save_every_n_steps"])
os.makedirs(out, exist_ok=True)
tries = os.path.join(os.environ["FAKE_KOHYA"], "tries.json")
seen = json.load(open(tries)) if os.path.exists(tries) else []
json.dump(seen + [words], open(tries, "w"))
mode = os.environ.get("FAKE_MODE", "")
if mode == "memory" and "--gradient_checkpointing" not in words:
    print("torch.OutOfMemoryError: CUDA out of memory."); sys.exit(1)
if mode == "crash":
    print("ValueError: no such thing"); sys.exit(3)
for k in range(1, steps + 1):
    loss = "nan" if mode == "nan" else f"{1 / k:.3f}"
    sys.stderr.write(f"\\rsteps: 1%| | {k}/{steps} [00:02<00:10,  2.01s/it, avr_loss={loss}]")
    if k % every == 0:
        open(os.path.join(out, f"vultus-step{k:08d}.safetensors"), "w").write(f"at {k}")
open(os.path.join(out, "vultus.safetensors"), "w").write("last")
"""


@pytest.fixture
def kohya(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToolPlace:
    """A checkout whose script answers as kohya does, and a torch that costs nothing to import."""
    place = ToolPlace(
        tmp_path / "tool", {"tool": "kohya", "digest": "d", "entry": "sdxl_train_network.py"}
    )
    place.source.mkdir(parents=True)
    place.entry.write_text(SCRIPT, "utf-8")
    (place.source / "torch.py").write_text("class version:\n    cuda = '13'\n", "utf-8")
    place.python.parent.mkdir(parents=True)
    place.python.symlink_to(sys.executable)
    monkeypatch.setenv("FAKE_KOHYA", str(tmp_path))
    monkeypatch.setattr(trainer, "require_base", lambda path: "file")
    monkeypatch.setattr(trainer, "light_print", lambda path: "base")
    return place


@pytest.fixture
def run(kohya: ToolPlace, tmp_path: Path) -> Callable[..., TrainResult]:
    path = _picture(tmp_path / "pictures" / "a.png", (64, 64))
    pictures = [TrainPicture(path, "photo", (64, 64), faces=((8.0, 8.0, 40.0, 40.0),))]

    def go(spec: TrainSpec = SPEC, progress: object = None) -> TrainResult:
        base = tmp_path / "base.safetensors"
        return trainer.train_with(kohya, spec, base, pictures, tmp_path / "out", 7, progress)  # type: ignore[arg-type]

    return go


class Listener:
    steps = 0.0

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        self.steps += n


def _tries(tmp_path: Path) -> list[list[str]]:
    return list(json.loads((tmp_path / "tries.json").read_text("utf-8")))


def test_it_trains_and_what_is_done_stays_done(
    run: Callable[..., TrainResult], tmp_path: Path
) -> None:
    listener = Listener()
    result = run(SPEC, listener)
    assert [record.step for record in result.checkpoints] == [2, 4, 6]
    assert [record.path.read_text("utf-8") for record in result.checkpoints] == [
        "at 2",
        "at 4",
        "last",
    ]
    assert listener.steps == 6 and len(result.losses) == 6
    assert run().checkpoints == result.checkpoints
    assert len(_tries(tmp_path)) == 1
    with pytest.raises(TrainingError, match="another training"):
        run(replace(SPEC, rank=4))


def test_a_real_runs_output_is_read_rightly() -> None:
    """Two steps of the pinned kohya on a processor, full-size random weights (`python -m bench.training.kohya`)."""
    recorded = Path(__file__).with_name("kohya_two_steps.log").read_bytes()
    heard = Heard()
    lines = list(lines_of([recorded[:5000], recorded[5000:]]))
    new = [heard.hear(line) for line in lines]
    assert len(lines) > 150 and sum(new) == heard.step == 2
    assert heard.losses == [(1, 0.586), (2, 0.564)], (
        "each loss belongs to the step that was counted"
    )
    assert not heard.out_of_memory and not heard.diverged and heard.notes == []


def test_out_of_memory_takes_the_next_rung(
    run: Callable[..., TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "memory")
    result = run(replace(SPEC, gradient_checkpointing=False))
    assert "memory: gave up checkpointing" in result.notes
    first, second = _tries(tmp_path)
    assert "--gradient_checkpointing" in second and "--gradient_checkpointing" not in first


@pytest.mark.parametrize(
    ("mode", "words"),
    [("crash", "ended with 3: ValueError: no such thing"), ("nan", "no longer a number")],
)
def test_its_faults_are_one_error(
    run: Callable[..., TrainResult],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    words: str,
) -> None:
    monkeypatch.setenv("FAKE_MODE", mode)
    with pytest.raises(TrainingError, match=words) as caught:
        run()
    assert str(caught.value.where).endswith("log.txt")
