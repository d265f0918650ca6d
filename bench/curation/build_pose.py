"""Make the stand-in's pose regression: yaw and pitch from the aligned face, learnt from rendered people.

    python -m bench.curation.build_pose --cache FOLDER [--pictures 14000]

Notation
    square    aligned face            uint8 (32, 32, 3); three per picture, its points jittered like a detector's
    angle     (yaw, pitch)            degrees, signs of `faces.records`
People come from a stream of their own: no persona and nobody of the stand-in's training populations is among them.
Half of the pictures have yaw and pitch drawn evenly, so that the ends of the range are learnt as well as its middle.
Shards of 1,000 pictures are kept in the cache: a killed build goes on. 14,000 pictures take 4 minutes to draw and 2 to
learn on one idle core.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vultus.core.files import write_bytes
from vultus.core.seeds import seed_of, stream
from vultus.datasets.pose import NET_FILE, NET_SIDE_PX, square_of
from vultus.standin.identity import sample_identity
from vultus.standin.nuisance import MAX_YAW, sample_nuisance
from vultus.standin.render import render

SHARD = 1000
JITTERS = 3
HIDDEN = 48
STYLES = ("plain", "plain", "plain", "soft", "ink")
Squares = npt.NDArray[np.uint8]
Angles = npt.NDArray[np.float32]


def draw(n: int) -> tuple[Squares, Angles]:
    """The n-th picture's squares (JITTERS, 32, 32, 3) and its angles (2,)."""
    rng = stream("curation", "pose net", n)
    who = sample_identity(rng)
    scene = sample_nuisance(rng)
    if n % 2:
        yaw, pitch = float(rng.uniform(-MAX_YAW, MAX_YAW)), float(rng.uniform(-0.22, 0.22))
        scene = replace(scene, yaw=yaw, pitch=pitch)
    drawn = render(who, scene, style=STYLES[int(rng.integers(len(STYLES)))])
    size = float(np.ptp(drawn.points_px, axis=0).max())
    squares = np.empty((JITTERS, NET_SIDE_PX, NET_SIDE_PX, 3), np.uint8)
    for j in range(JITTERS):
        shift = rng.normal(0, 0.03, (5, 2)) + rng.normal(0, 0.02, 2)
        squares[j] = square_of(drawn.rgb, drawn.points_px + shift * size)
    # The renderer's yaw > 0 turns to the image right, its pitch > 0 down.
    return squares, np.degrees(np.array([-scene.yaw, -scene.pitch], np.float32))


def shards(cache: Path, pictures: int) -> tuple[Squares, Angles]:
    """All squares (n, JITTERS, 32, 32, 3) and angles (n, 2), drawn or remembered."""
    squares: list[Squares] = []
    angles: list[Angles] = []
    for first in range(0, pictures, SHARD):
        path = cache / f"pose-{first:06d}.npz"
        if not path.is_file():
            rows = [draw(n) for n in range(first, first + SHARD)]
            out = io.BytesIO()
            np.savez(
                out, squares=np.stack([r[0] for r in rows]), angles=np.stack([r[1] for r in rows])
            )
            write_bytes(path, out.getvalue())
            print(f"{first + SHARD} pictures drawn", flush=True)
        with np.load(path, allow_pickle=False) as table:
            squares.append(table["squares"])
            angles.append(table["angles"])
    return np.concatenate(squares), np.concatenate(angles)


def learn(squares: Squares, angles: Angles, epochs: int) -> dict[str, npt.NDArray[np.float16]]:
    """Fit the regression; the last tenth of the pictures is held out and told."""
    torch.manual_seed(seed_of("curation", "pose net", "start") % 2**31)
    n = len(squares) * 9 // 10
    x = torch.from_numpy(squares.reshape(len(squares), JITTERS, -1))
    y = torch.from_numpy(angles / 10.0)
    mean = x[:n, 0].float().mean(0) / 255.0
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[2], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 2)
    )
    steps = epochs * (n * JITTERS // 256)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        rows = torch.randint(0, n, (256,), generator=generator)
        jitter = torch.randint(0, JITTERS, (256,), generator=generator)
        batch = x[rows, jitter].float() / 255.0
        # Colour carries no pose: gains per picture keep the net from leaning on it.
        gain = 1 + 0.15 * torch.randn((256, 1), generator=generator)
        loss = torch.nn.functional.smooth_l1_loss(net(batch * gain - mean), y[rows], beta=0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % (steps // 8) == 0:
            with torch.no_grad():
                held = (net(x[n:, 0].float() / 255.0 - mean) - y[n:]).abs().mean(0) * 10
            print(f"step {step}: held-out yaw {held[0]:.2f}, pitch {held[1]:.2f} deg", flush=True)
    with torch.no_grad():
        held = (net(x[n:, 0].float() / 255.0 - mean) - y[n:]).abs().mean(0) * 10
    print(f"held-out mean error: yaw {held[0]:.2f}, pitch {held[1]:.2f} deg")
    (first, _, last) = (dict(layer.named_parameters()) for layer in net)
    return {
        "mean": mean.numpy().astype(np.float16),
        "inner": first["weight"].detach().numpy().T.astype(np.float16),
        "inner_bias": first["bias"].detach().numpy().astype(np.float16),
        "outer": (10 * last["weight"].detach()).numpy().T.astype(np.float16),
        "outer_bias": (10 * last["bias"].detach()).numpy().astype(np.float16),
    }


def main() -> None:
    """Draw, learn, write."""
    parser = argparse.ArgumentParser(description="make the stand-in's pose regression")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=14000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=NET_FILE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.cache.mkdir(parents=True, exist_ok=True)
    squares, angles = shards(args.cache, args.pictures)
    out = io.BytesIO()
    table: dict[str, Any] = dict(learn(squares, angles, args.epochs))
    np.savez_compressed(out, allow_pickle=False, **table)
    write_bytes(args.out, out.getvalue())
    print(f"{args.out}: {len(out.getvalue())} bytes")


if __name__ == "__main__":
    main()
