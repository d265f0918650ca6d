"""Kill -9 at random steps, resume, compare bit by bit with the training that nothing disturbed."""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.training.tiny_base import write_pictures, write_tiny_base
from vultus.core.seeds import stream
from vultus.training.native.recipe import train
from vultus.training.records import TrainPicture, TrainSpec

SPEC = TrainSpec(
    rank=2, alpha=1.0, batch=2, checkpoints=3, learning_rate=None, resolution_px=64, steps=60
)
ARMS = {
    "adamw": replace(SPEC, schedule="cosine", warmup_steps=5, caption_dropout=0.2),
    "adamw, encoders": replace(SPEC, text_encoders=True, conv_rank=2),
    "prodigy": replace(SPEC, optimizer="prodigy", slice_p=11),
    "prodigy, encoders": replace(SPEC, optimizer="prodigy", text_encoders=True, accumulate=2),
    "identity, views, face weight": replace(
        SPEC,
        views="added",
        view_enlarge_max=16.0,
        face_weight=10.0,
        identity_weight=0.5,
        identity_recogniser="standin:b",
        identity_min_latents=2.0,
    ),
    "prodigy_plus, encoders": replace(SPEC, optimizer="prodigy_plus", text_encoders=True),
}
STATE_EVERY = 3


class KillAfter:
    """Ends the process, without a word, after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        if not remembered:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _killed(spec: TrainSpec, base: Path, pictures: list[TrainPicture], out: Path, n: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            train(
                spec,
                base,
                pictures,
                out,
                7,
                KillAfter(n),
                device="cpu",
                state_every_steps=STATE_EVERY,
            )
        finally:
            os._exit(17)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError(f"the child was not killed: {status}")


def _arm(spec: TrainSpec, base: Path, pictures: list[TrainPicture], kills: int, out: Path) -> int:
    """How many kills a training survived with every checkpoint and loss equal to the bit."""
    options: dict[str, Any] = {"device": "cpu", "state_every_steps": STATE_EVERY}
    straight = train(spec, base, pictures, out / "straight", 7, **options)
    draw = stream("bench", "training", "kills", spec.optimizer, str(spec.text_encoders))
    done = 0
    # at most 60 / kills steps forward each time, so that all of them fall before the end
    most = max(1, spec.steps // max(kills, 1))
    while done < kills:
        _killed(spec, base, pictures, out / "killed", int(draw.integers(1, most + 1)))
        done += 1
    result = train(spec, base, pictures, out / "killed", 7, **options)
    same = result.losses == straight.losses and all(
        a.path.read_bytes() == b.path.read_bytes()
        for a, b in zip(result.checkpoints, straight.checkpoints, strict=True)
    )
    return done if same and len(result.checkpoints) == 3 else 0


def kill_and_compare(kills: int) -> dict[str, Any]:
    """Share `kills` among the arms; each says how many it survived bit for bit."""
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = write_tiny_base(folder / "base", "kl")
        paths = write_pictures(folder / "pictures", 5)
        points = ((24.0, 26.0), (40.0, 26.0), (32.0, 35.0), (26.0, 42.0), (38.0, 42.0))
        face: Any = {"faces": ((16.0, 16.0, 48.0, 48.0),), "points": points}
        pictures = [
            TrainPicture(p, f"photo of woman {i}", (64, 64), **face) for i, p in enumerate(paths)
        ]
        shares = [kills // len(ARMS) + (i < kills % len(ARMS)) for i in range(len(ARMS))]
        for (arm, spec), share in zip(ARMS.items(), shares, strict=True):
            equal = _arm(spec, base, pictures, share, folder / arm.replace(", ", "-"))
            told[arm] = {"kills": share, "bit_equal": equal == share}
    told["all"] = {"kills": kills, "bit_equal": all(row["bit_equal"] for row in told.values())}
    return told
