"""Where heads look, by measurement and by the stand-in's truth: agreement of bins, errors in degrees.

    python -m bench.curation.coverage [--personas 40]

Agreement is the share of pictures whose bin is the true one; pictures in which no face was found count as
wrong. Its interval is a jackknife over personas: errors of one persona have one cause (the shape of the face).
Beside it: what a bin of the same edges would get from the five points alone, and the framing's and light's agreement.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.curation.personas import PERSONAS, Planted, read_personas
from vultus.datasets.coverage import STANDIN_FRAMING_CUTS, framing_of
from vultus.datasets.pose import pitch_bin, yaw_bin
from vultus.datasets.readings import Reading
from vultus.faces.pose import pose_from_points
from vultus.standin.nuisance import Nuisance

__all__ = ["figures", "main", "measure", "show"]


def true_yaw_deg(scene: Nuisance) -> float:
    """The renderer's yaw > 0 turns to the image right; `faces.records` counts the image left as positive."""
    return float(-np.degrees(scene.yaw))


def true_pitch_deg(scene: Nuisance) -> float:
    """The renderer's pitch > 0 looks down; here chin up is positive."""
    return float(-np.degrees(scene.pitch))


def figures(planted: Sequence[Planted]) -> dict[str, Any]:
    """Agreement and errors over all own pictures."""

    def yaw_agrees(r: Reading, s: Nuisance) -> bool:
        return r.pose is not None and yaw_bin(r.pose.yaw_deg) == yaw_bin(true_yaw_deg(s))

    def pitch_agrees(r: Reading, s: Nuisance) -> bool:
        return r.pose is not None and pitch_bin(r.pose.pitch_deg) == pitch_bin(true_pitch_deg(s))

    def points_agree(r: Reading, s: Nuisance) -> bool:
        if r.points_px is None:
            return False
        return yaw_bin(pose_from_points(r.points_px).yaw_deg) == yaw_bin(true_yaw_deg(s))

    def framing_agrees(r: Reading, s: Nuisance) -> bool:
        return framing_of(r, STANDIN_FRAMING_CUTS) == s.framing

    pairs = [(r, s) for one in planted for r, s in zip(one.own, one.scenes, strict=True)]
    posed = [(r.pose, s) for r, s in pairs if r.pose is not None]
    turned = [true_yaw_deg(s) for _, s in pairs]
    return {
        "personas": len(planted),
        "pictures": len(pairs),
        "without_face": len(pairs) - len(posed),
        "truly_turned_share": float(np.mean([yaw_bin(yaw) != "ahead" for yaw in turned])),
        "yaw_bins_agree": _share(planted, yaw_agrees),
        "pitch_bins_agree": _share(planted, pitch_agrees),
        "framing_agrees": _share(planted, framing_agrees),
        "yaw_bins_from_points_alone": _share(planted, points_agree),
        "yaw_mean_error_deg": float(np.mean([abs(p.yaw_deg - true_yaw_deg(s)) for p, s in posed])),
        "pitch_mean_error_deg": float(
            np.mean([abs(p.pitch_deg - true_pitch_deg(s)) for p, s in posed])
        ),
    }


def _share(
    planted: Sequence[Planted], agrees: Callable[[Reading, Nuisance], bool]
) -> dict[str, float]:
    rows: npt.NDArray[np.float64] = np.array(
        [[agrees(r, s) for r, s in zip(one.own, one.scenes, strict=True)] for one in planted],
        dtype=np.float64,
    )
    means = rows.mean(axis=1)
    half = 1.96 * float(means.std(ddof=1)) / len(means) ** 0.5
    value = float(means.mean())
    return {
        "share": round(value, 4),
        "n": int(rows.size),
        "low": round(value - half, 4),
        "high": round(min(1.0, value + half), 4),
    }


def show(found: dict[str, Any]) -> None:
    """The table."""
    print(f"{found['pictures']} pictures of {found['personas']} personas")
    for key in (
        "yaw_bins_agree",
        "pitch_bins_agree",
        "framing_agrees",
        "yaw_bins_from_points_alone",
    ):
        share = found[key]
        print(f"{key:30} {share['share']:.3f}  ({share['low']:.3f} .. {share['high']:.3f})")
    print(
        f"mean error: yaw {found['yaw_mean_error_deg']:.1f}, pitch {found['pitch_mean_error_deg']:.1f} deg"
    )


def measure(personas: int = PERSONAS) -> dict[str, Any]:
    """All figures of coverage."""
    return figures(read_personas(personas))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="figures of coverage")
    parser.add_argument("--personas", type=int, default=PERSONAS)
    show(measure(parser.parse_args().personas))


if __name__ == "__main__":
    main()
