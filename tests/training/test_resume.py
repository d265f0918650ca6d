"""A training killed with SIGKILL anywhere and started again ends with the same bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vultus.core.errors import TrainingError
from vultus.training.records import TrainPicture, TrainResult, TrainSpec

SPEC = TrainSpec(
    rank=2,
    alpha=1.0,
    steps=8,
    batch=2,
    checkpoints=2,
    learning_rate=3e-3,
    resolution_px=64,
    caption_dropout=0.3,
    warmup_steps=2,
    schedule="cosine",
)
# states at 2, 4 (with a checkpoint), 6 and 8 (with a checkpoint)
STATE_EVERY = 2


class KillAfter:
    """A progress listener that ends the process, without a word, after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        if remembered:
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _train(
    spec: TrainSpec,
    base: Path,
    pictures: Sequence[TrainPicture],
    out: Path,
    progress: KillAfter | None = None,
) -> TrainResult:
    from vultus.training.native.recipe import train

    return train(
        spec, base, pictures, out, 11, progress, device="cpu", state_every_steps=STATE_EVERY
    )


def _killed(
    spec: TrainSpec,
    base: Path,
    pictures: Sequence[TrainPicture],
    out: Path,
    *,
    after_steps: int = 0,
    at_rename: int = 0,
) -> None:
    """Train in a child process that is killed after some steps, or before its n-th rename."""
    child = os.fork()
    if child == 0:
        try:
            if at_rename:
                _kill_at_rename(at_rename)
            _train(spec, base, pictures, out, KillAfter(after_steps) if after_steps else None)
        finally:
            os._exit(17)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child was not killed: {status}"
    assert os.WTERMSIG(status) == signal.SIGKILL


def _kill_at_rename(count: int) -> None:
    """Only ever called in a child: the draft is written and flushed, its name not yet given."""
    real = Path.replace
    left = [count]

    def kill(self: Path, target: str | Path) -> Path:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, target)

    Path.replace = kill  # type: ignore[method-assign,assignment]


def _bytes(result: TrainResult) -> list[bytes]:
    return [record.path.read_bytes() for record in result.checkpoints]


@pytest.fixture(scope="module")
def straight(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[bytes], list[tuple[int, float]]]:
    """Checkpoints and losses of the training that nothing disturbed."""
    result = _train(SPEC, tiny_base, pictures, tmp_path_factory.mktemp("straight"))
    assert [record.step for record in result.checkpoints] == [4, 8]
    assert [step for step, _ in result.losses] == list(range(1, 9))
    return _bytes(result), result.losses


@pytest.mark.parametrize(
    ("after_steps", "at_rename", "resumes_from"),
    [
        (1, 0, 0),  # before the first state
        (3, 0, 2),  # between two states
        (7, 0, 6),  # near the end
        (0, 1, 0),  # the first state written, not renamed
        (0, 2, 2),  # the first checkpoint written, not renamed
        (0, 3, 2),  # the checkpoint is there, its state not renamed
        (0, 5, 6),  # the last checkpoint written, not renamed
    ],
)
def test_killed_training_ends_bit_equal(
    tiny_base: Path,
    pictures: list[TrainPicture],
    tmp_path: Path,
    straight: tuple[list[bytes], list[tuple[int, float]]],
    after_steps: int,
    at_rename: int,
    resumes_from: int,
) -> None:
    _killed(SPEC, tiny_base, pictures, tmp_path, after_steps=after_steps, at_rename=at_rename)
    result = _train(SPEC, tiny_base, pictures, tmp_path)
    assert result.resumed_from == resumes_from
    assert _bytes(result) == straight[0]
    assert result.losses == straight[1]
    assert not list(tmp_path.glob(".*staged*")), "a killed writer's leftovers were not swept"


def test_killed_twice_with_prodigy_posterior_and_text_encoders(
    kl_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    """Prodigy's d, the VAE's posterior draws and the text encoders' LoRA survive as well."""
    spec = replace(SPEC, optimizer="prodigy", learning_rate=None, text_encoders=True)
    straight = _train(spec, kl_base, pictures, tmp_path / "straight")
    out = tmp_path / "killed"
    _killed(spec, kl_base, pictures, out, after_steps=3)
    _killed(spec, kl_base, pictures, out, after_steps=3)
    result = _train(spec, kl_base, pictures, out)
    assert result.resumed_from == 4
    assert _bytes(result) == _bytes(straight)
    assert result.losses == straight.losses


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"text_encoders": True, "conv_rank": 2, "dora": True},
        {"optimizer": "prodigy", "slice_p": 11, "learning_rate": None, "accumulate": 2},
        {
            "optimizer": "prodigy_plus",
            "text_encoders": True,
            "learning_rate": None,
            "schedule": "constant",
            "warmup_steps": 0,
        },
    ],
    ids=["adamw, encoders, conv, DoRA", "prodigy by slices", "prodigy_plus, encoders"],
)
def test_every_optimizer_resumes_bit_equal(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path, changes: dict[str, object]
) -> None:
    """A reduced number; `make bench-training` kills 50 times."""
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    straight = _train(spec, tiny_base, pictures, tmp_path / "straight")
    out = tmp_path / "killed"
    _killed(spec, tiny_base, pictures, out, after_steps=3)
    _killed(spec, tiny_base, pictures, out, after_steps=3)
    result = _train(spec, tiny_base, pictures, out)
    assert result.resumed_from == 4
    assert _bytes(result) == _bytes(straight)
    assert result.losses == straight.losses


def test_finished_training_is_a_look_up(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    spec = replace(SPEC, steps=2, checkpoints=1)
    first = _train(spec, tiny_base, pictures, tmp_path)
    written = first.checkpoints[0].path.stat().st_mtime_ns
    again = _train(spec, tiny_base, pictures, tmp_path)
    assert again.resumed_from == 2
    assert again.losses == first.losses
    assert again.checkpoints[0].path.stat().st_mtime_ns == written


def test_another_training_is_refused(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    """Spec, seed, base, captions and pictures are all part of what may be continued."""
    from vultus.training.native.recipe import train

    spec = replace(SPEC, steps=2, checkpoints=1)
    _train(spec, tiny_base, pictures, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    told: list[str] = []
    others: list[tuple[TrainSpec, Sequence[TrainPicture], int]] = [
        (replace(spec, learning_rate=1e-3), pictures, 11),
        (spec, pictures, 12),
        (spec, pictures[1:], 11),
        (spec, [replace(pictures[0], caption="another"), *pictures[1:]], 11),
        (spec, [replace(pictures[0], crop=(0, 0, 32, 32)), *pictures[1:]], 11),
    ]
    for other, shown, seed in others:
        with pytest.raises(TrainingError, match="another spec, base, dataset or seed") as caught:
            train(other, tiny_base, shown, tmp_path, seed, device="cpu")
        assert str(tmp_path) in caught.value.next_command
        told.append(caught.value.what)
    assert "spec.learning_rate: 0.003, here 0.001" in told[0]
    assert "seed: 11, here 12" in told[1]
    assert "pictures: 5 of them, here 4" in told[2]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_unreadable_state_says_what_to_do(
    tiny_base: Path, pictures: list[TrainPicture], tmp_path: Path
) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"not a state")
    with pytest.raises(TrainingError, match="cannot be read") as caught:
        _train(SPEC, tiny_base, pictures, tmp_path)
    assert "rm" in caught.value.next_command
