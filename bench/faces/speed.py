"""How long reading takes, in turn with other ways of doing it, on the same pictures.

Notation
    cpu_s      processor seconds a picture, all threads of this process
    wall_s     seconds a picture by the clock; on a machine with other work mostly a measure of that
    ratio      median over rounds of the ratio within a round, where the candidates take turns: a
               neighbour on the machine slows one round, not one candidate
The peer (DeepFace) runs in an environment of its own with the same YuNet weights (2023mar): detection
and alignment only, because its recognisers' weights are not free.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.faces.sets import SHARED, free_pack, generated, without_gauges
from vultus.faces.engines import open_engine
from vultus.faces.engines.reader import Reader
from vultus.faces.packs import Pack
from vultus.faces.records import Rgb

__all__ = ["measure_speed"]

PICTURES = 24
ROUNDS = 9
OPENCV_YUNET = "face_detection_yunet_2023mar.onnx"

_PEER = """
import json, sys, time
import numpy as np
from deepface import DeepFace
import cv2
cv2.setNumThreads(1)
pictures = [p[..., ::-1].copy() for p in np.load(sys.argv[1]).values()]
def run():
    found = 0
    for bgr in pictures:
        faces = DeepFace.extract_faces(bgr, detector_backend="yunet", align=True,
                                       enforce_detection=False)
        found += any(f["confidence"] > 0 for f in faces)
    return found
run()
cpu, wall = time.process_time(), time.perf_counter()
found = run()
print(json.dumps({"cpu_s": (time.process_time() - cpu) / len(pictures),
                  "wall_s": (time.perf_counter() - wall) / len(pictures), "found": found}))
"""


def measure_speed(peer: Path | None) -> dict[str, Any]:
    """Single pictures, batches on one and two threads, the parts, and the peer."""
    rgbs = generated()[0][:PICTURES]
    lean = without_gauges(free_pack())
    one, two, whole = open_engine(lean), open_engine(lean, threads=2), open_engine(free_pack())
    rounds = _rounds(
        {
            "one_by_one": lambda: [one.read(rgb) for rgb in rgbs],
            "batch_one_thread": lambda: one.read_many(rgbs),
            "batch_two_threads": lambda: two.read_many(rgbs),
            "with_pose_and_quality": lambda: whole.read_many(rgbs),
        },
        len(rgbs),
    )
    rows = {name: _row(one) for name, one in rounds.items()}
    told: dict[str, Any] = {"pictures": len(rgbs), "side_px": 512, **rows}
    ratios = rounds["one_by_one"][:, 1] / rounds["batch_two_threads"][:, 1]
    told["two_threads_ratio"] = float(np.median(ratios))
    told["two_threads_ratio_rounds"] = sorted(round(float(r), 2) for r in ratios)
    told["recogniser"] = _recognisers(lean, rgbs)
    told["peer"] = _peer(peer, rgbs)
    if "cpu_s" in told["peer"]:
        told["peer"]["ratio"] = told["peer"]["cpu_s"] / told["peer"]["ours_same_weights"]["cpu_s"]
    return told


def _in_turn(ways: dict[str, Callable[[], object]], n: int) -> dict[str, dict[str, float]]:
    return {name: _row(rounds) for name, rounds in _rounds(ways, n).items()}


def _rounds(ways: dict[str, Callable[[], object]], n: int) -> dict[str, npt.NDArray[np.float64]]:
    """(rounds, 2): processor and wall seconds a picture of each way."""
    for run in ways.values():
        run()  # first calls allocate
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times[name].append(((time.process_time() - cpu) / n, (time.perf_counter() - wall) / n))
    return {name: np.asarray(rounds) for name, rounds in times.items()}


def _row(rounds: npt.NDArray[np.float64]) -> dict[str, float]:
    (cpu, wall), (cpu_best, wall_best) = np.median(rounds, axis=0), rounds.min(axis=0)
    return {
        "cpu_s": float(cpu),
        "cpu_s_best": float(cpu_best),
        "wall_s": float(wall),
        "wall_s_best": float(wall_best),
    }


def _recognisers(pack: Pack, rgbs: Sequence[Rgb]) -> dict[str, Any]:
    """The translated network against the same network as published in ONNX form (converted by hand)."""
    from vultus.faces.engines.session import Net

    aligned = np.stack([rgb[:128, :128] for rgb in rgbs[:8]])[..., ::-1].astype(np.float32)
    batch = np.ascontiguousarray(aligned.transpose(0, 3, 1, 2))
    translated = Net(pack.file(pack.recogniser.file))
    other = SHARED / "models" / "recogniser" / "face-reidentification-retail-0095.fp16.onnx"
    ways: dict[str, Callable[[], object]] = {"translated": lambda: translated.run(batch)}
    if other.is_file():
        plain = Net(other)
        ways["plain_onnx"] = lambda: plain.run(batch)
    rows: dict[str, Any] = dict(_in_turn(ways, len(batch)))
    if other.is_file():
        rows["ratio"] = rows["plain_onnx"]["cpu_s"] / rows["translated"]["cpu_s"]
        a, b = (next(iter(net.run(batch).values())).reshape(8, -1) for net in (translated, plain))
        rows["largest_difference"] = float(np.abs(a - b).max())
    return rows


def _peer(python: Path | None, rgbs: Sequence[Rgb]) -> dict[str, Any]:
    """DeepFace's extract_faces in its own environment, and ours with the same detector weights."""
    if python is None:
        return {"skipped": "no --peer: an environment with deepface was not given"}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, ".deepface", "weights")
        weights.mkdir(parents=True)
        shutil.copyfile(SHARED / "models" / "detector" / OPENCV_YUNET, weights / OPENCV_YUNET)
        np.savez(Path(folder, "pictures.npz"), *rgbs)
        env = {**os.environ, "DEEPFACE_HOME": folder, "OMP_NUM_THREADS": "1"}
        env |= {
            "TF_NUM_INTRAOP_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        done = subprocess.run(
            [str(python), "-c", _PEER, str(Path(folder, "pictures.npz"))],
            capture_output=True,
            text=True,
            check=False,
            env=env,
        )
    if done.returncode:
        return {"skipped": f"deepface failed: {done.stderr.strip().splitlines()[-1][:200]}"}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told["what"] = "deepface.extract_faces, yunet 2023mar, align: one look, no vector"
    engine = open_engine(_with_opencv_yunet())
    assert isinstance(engine, Reader)
    told["ours_same_weights"] = _in_turn({"read": lambda: engine.read_many(rgbs)}, len(rgbs))[
        "read"
    ]
    told["ours_what"] = "the same weights: 320 and 512 px, six votes, alignment and the vector"
    return told


def _with_opencv_yunet() -> Pack:
    pack = without_gauges(free_pack())
    detector = replace(pack.detector, file=f"detector/{OPENCV_YUNET}", sha256="")
    return replace(pack, spec=replace(pack.spec, detector=detector))
