"""What the free face pack is worth on photographs, generated pictures and hostile files.

    python -m bench.faces.measure [--peer ENV/bin/python] [--only PART …]

Notation
    eer, tar, d_prime    of cosines over pairs (faces.verification); shares 0..1
    remedy               two passes, six votes, median landmarks (engines.detection)
    cpu_s                seconds of processor time of this process a picture: what a loaded machine does
                         not change much; wall_s is what a clock on the wall said
    ratio                of times measured in turn, in this run, on the same pictures
Parts: people, generated, faults, gauges, speed, hostile, remedy. All of them take about three minutes
of processor time. Each part's figures are kept in build/bench-faces with the commit they were measured
at, and used again as long as nothing they depend on has changed since: a stopped run goes on. The
photographs are team data: without them the benchmark says so and ends.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.faces.sets import (
    SHARED,
    free_pack,
    generated,
    glasses_of,
    orl,
    with_long_side,
    without_gauges,
)
from bench.record import record, tree
from tests.faces.mutations import FAULTS, embed_with, linked_eer, people_eer
from vultus.core.files import write_json
from vultus.core.seeds import stream
from vultus.faces.engines import open_engine
from vultus.faces.engines.detection import drop_overlaps
from vultus.faces.engines.recogniser import Recogniser
from vultus.faces.engines.yunet import YuNet
from vultus.faces.occlusion import occlusion
from vultus.faces.pose import pose_from_points
from vultus.faces.records import FaceResult, Rgb
from vultus.faces.reference import BRIDGE
from vultus.faces.similarity import Vectors, gather
from vultus.faces.verification import (
    Verified,
    centroid_trials,
    equal_error_rate,
    verify,
    verify_people,
)

KEPT = Path("build/bench-faces")
BEHIND = (
    *(
        f"vultus/faces/engines/{name}.py"
        for name in (
            "detection",
            "gauges",
            "openvino_ir",
            "reader",
            "recogniser",
            "session",
            "yunet",
        )
    ),
    "vultus/faces/catalogue",
    "vultus/faces/align.py",
    "vultus/faces/occlusion.py",
    "vultus/faces/pose.py",
    "vultus/faces/verification.py",
    "vultus/images/geometry.py",
    "bench/faces/sets.py",
)
"""What the figures of most parts depend on; after a change of a part itself, remove its file."""
STATES = ("ok", "several", "extreme_pose", "uncertain_landmarks", "blurred")
Seen = dict[str, Any]


def main() -> None:
    """Measure the parts, print a table, write bench/results/faces.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, help="some parts; no file is written")
    parser.add_argument(
        "--so-far", action="store_true", help="measure nothing: write the kept parts, name the rest"
    )
    parser.add_argument("--peer", type=Path, help="python of an environment with deepface")
    args = parser.parse_args()
    if not (SHARED / "photos" / "orl").is_dir():
        sys.exit(f"bench-faces: the photographs are not under {SHARED}; nothing was measured")
    began = time.perf_counter()
    seen: Seen = {"peer": args.peer}
    figures: dict[str, Any] = {}
    for name in args.only or PARTS:
        kept = _kept(name)
        if kept is None and args.so_far:
            figures.setdefault("not_measured", []).append(name)
            continue
        figures[name] = kept or _measured(name, seen)
        _print({name: figures[name]})
    if not args.only:
        print(record("faces", figures, seconds=time.perf_counter() - began))


def _measured(name: str, seen: Seen) -> dict[str, Any]:
    figures = {**PARTS[name](seen), "commit": tree()["commit"]}
    if tree()["clean"]:
        write_json(KEPT / f"{name}.json", figures)
    return figures


def _kept(name: str) -> dict[str, Any] | None:
    """The figures of a part that was measured before, if the code behind it is still the same."""
    path = KEPT / f"{name}.json"
    if not path.is_file() or not tree()["clean"]:
        return None
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    asked = ["git", "diff", "--quiet", str(figures["commit"]), "HEAD", "--", *BEHIND]
    return figures if subprocess.run(asked, check=False).returncode == 0 else None


def people(seen: Seen) -> dict[str, Any]:
    """ORL: all pairs, and probes against centroids of four."""
    rgbs, who = orl()
    results = _read_orl(seen, rgbs)
    v = gather(results, STATES)
    whole = verify_people(v, who)
    g, i = centroid_trials(v, who, stream("bench.faces", "centroid"), draws=10)
    centroid = verify(g, i)
    spreads = [r.landmark_spread_px / r.face.size_px for r in results if r.face is not None]
    return {
        "found": len(v),
        "states": {
            s: sum(r.state == s for r in results) for s in sorted({r.state for r in results})
        },
        "pairs": _row(whole),
        "centroid_of_4": _row(centroid),
        "spread_median": float(np.median(spreads)),
        "spread_95": float(np.quantile(spreads, 0.95)),
    }


def of_generated(seen: Seen) -> dict[str, Any]:
    """Generated pictures: a face in each, cosines against InsightFace's."""
    rgbs, theirs = generated()
    results = open_engine(free_pack()).read_many(rgbs)
    seen["generated"] = (rgbs, results, theirs)
    rows = gather(results, STATES).rows.astype(np.float64)
    upper = np.triu_indices(len(rows), 1)
    a, b = (rows @ rows.T)[upper], (theirs @ theirs.T)[upper]
    return {
        "pictures": len(rgbs),
        "found": sum(r.face is not None for r in results),
        "pairs": len(a),
        "pearson": float(np.corrcoef(a, b)[0, 1]),
    }


def remedy(seen: Seen) -> dict[str, Any]:
    """Half of ORL enlarged to 960 px: one look at full size against the remedy."""
    rgbs, who = orl()
    rgbs, who = rgbs[::2], who[::2]
    pack = free_pack()
    engine = open_engine(without_gauges(pack))
    look, recogniser = YuNet(pack.file(pack.detector.file)), Recogniser(pack)
    once: list[Any] = []
    with_it: list[FaceResult] = []
    for rgb in rgbs:
        big = with_long_side(rgb, 960)
        faces = drop_overlaps(look.detect(big, pack.detector.min_score))
        face = max(faces, key=lambda f: f.size_px, default=None)
        once.append(None if face is None else recogniser.embed([recogniser.align(big, face)])[0])
        with_it.append(engine.read(big))
    kept = [k for k, emb in enumerate(once) if emb is not None]
    without = Vectors(np.stack([once[k] for k in kept]), pack.digest)
    cured = verify_people(gather(with_it, STATES), who)
    sick = verify_people(without, [who[k] for k in kept])
    return {
        "without": {
            "found": len(kept),
            "eer": sick.eer,
            "low": sick.eer_low,
            "high": sick.eer_high,
        },
        "with": {
            "found": sum(r.emb is not None for r in with_it),
            "eer": cured.eer,
            "low": cured.eer_low,
            "high": cured.eer_high,
        },
        "eer_ratio": cured.eer / sick.eer,
    }


def faults(seen: Seen) -> dict[str, Any]:
    """Each wrong way of feeding the recogniser, against the right one."""
    rgbs, who = orl()
    results = _read_orl(seen, rgbs)
    if "generated" not in seen:
        of_generated(seen)
    soft, soft_results, theirs = seen["generated"]
    grey = [(rgb, r.face) for rgb, r in zip(rgbs, results, strict=True) if r.face is not None]
    coloured = [(rgb, r.face) for rgb, r in zip(soft, soft_results, strict=True) if r.face]
    pack = free_pack()
    told: dict[str, Any] = {}
    for fault in ("", *FAULTS):
        row: dict[str, float] = {}
        if fault != "colour order":
            row["orl_eer"], row["orl_d_prime"] = people_eer(embed_with(pack, grey, fault), who)
        rows = embed_with(pack, coloured, fault)
        row["generated_eer"], row["generated_d_prime"] = linked_eer(rows, theirs)
        told[fault or "right"] = row
    return told


def gauges(seen: Seen) -> dict[str, Any]:
    """Pose nets against the mirror and against five points; glasses by the bridge, held out."""
    rgbs, _ = orl()
    results = _read_orl(seen, rgbs)
    nets = np.array(
        [[r.pose.yaw_deg, r.pose.pitch_deg, r.pose.roll_deg] for r in results if r.pose]
    )
    five = [pose_from_points(r.face.points_px) for r in results if r.face is not None]
    points = np.array([[p.yaw_deg, p.pitch_deg, p.roll_deg] for p in five])
    bridge = np.array(
        [occlusion(rgb, r.face).bridge for rgb, r in zip(rgbs, results, strict=True) if r.face]
    )
    worn = glasses_of()
    halves = np.repeat(np.arange(30) % 2 == 0, 10)
    held = []
    for half in (halves, ~halves):
        cut = equal_error_rate(bridge[half & worn], bridge[half & ~worn])[1]
        rest = ~half
        held.append([(bridge[rest & worn] > cut).mean(), (bridge[rest & ~worn] > cut).mean(), cut])
    quality = [r.quality for r in results if r.quality is not None]
    names = ("yaw", "pitch", "roll")
    correlation = {
        n: float(np.corrcoef(nets[:, k], points[:, k])[0, 1]) for k, n in enumerate(names)
    }
    return {
        "points_against_nets_r": correlation,
        "points_against_nets_deg": {
            n: float(np.abs(nets[:, k] - points[:, k]).mean()) for k, n in enumerate(names)
        },
        "quality_mean": float(np.mean(quality)),
        "glasses": {
            "pictures": int(worn.sum()),
            "flagged_with": float((bridge[worn] > BRIDGE).mean()),
            "flagged_without": float((bridge[~worn] > BRIDGE).mean()),
            "held_out_with": float(np.mean([h[0] for h in held])),
            "held_out_without": float(np.mean([h[1] for h in held])),
        },
    }


def speed(seen: Seen) -> dict[str, Any]:
    """See bench.faces.speed."""
    from bench.faces.speed import measure_speed

    return measure_speed(seen.get("peer"))


def hostile(seen: Seen) -> dict[str, Any]:
    """The hostile files of the tests, in a process with a memory cap."""
    from tests.images.ordeal import run_ordeal

    return run_ordeal()


def _row(verified: Verified) -> dict[str, Any]:
    """The figures as JSON holds them: no NaN, names for keys."""
    row = asdict(verified)
    row["tar"] = {f"at_fmr_{fmr:g}": tar for fmr, tar in verified.tar.items()}
    return {key: None if value != value else value for key, value in row.items()}


def _read_orl(seen: Seen, rgbs: list[Rgb]) -> list[FaceResult]:
    if "orl" not in seen:
        seen["orl"] = open_engine(free_pack()).read_many(rgbs)
    found: list[FaceResult] = seen["orl"]
    return found


def _print(figures: dict[str, Any], indent: str = "") -> None:
    for key, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print(value, indent + "  ")
        else:
            shown = f"{value:.4f}" if isinstance(value, float) else value
            print(f"{indent}{key!s:24s} {shown}", flush=True)


PARTS: dict[str, Callable[[Seen], dict[str, Any]]] = {
    "people": people,
    "generated": of_generated,
    "faults": faults,
    "gauges": gauges,
    "speed": speed,
    "hostile": hostile,
    "remedy": remedy,
}

if __name__ == "__main__":
    main()
