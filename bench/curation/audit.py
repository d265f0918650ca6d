"""Planted strangers: how many the audit finds and how many of its own it accuses, at the default setting.

    python -m bench.curation.audit [--personas 40]

Two worlds: stand-in personas (36 own pictures, 4 strangers), and ORL (9 photographs of one person, 1 of another).
Precision and recall are pooled over sets; their intervals are two-sided 95 % jackknife intervals over personas, because
pictures of one person are not independent. Where nothing was missed the jackknife has no width: then the rule of
three over sets gives the bound. Twins (the persona's colours on another face) are told apart: nobody plants them, but a
drifting generator does.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.curation.personas import PERSONAS, Planted, read_personas
from vultus.core.seeds import stream
from vultus.datasets.audit import audit_identity, audit_pictures
from vultus.datasets.records import CurateSpec
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack, model_folders
from vultus.images.geometry import resize
from vultus.images.load import load_picture

__all__ = ["figures_orl", "figures_standin", "main", "measure"]

ORL_ENLARGE = 3
ORL_OWN = 9
ORL_DRAWS = 10
Counts = tuple[int, int, int]


def figures_standin(planted: Sequence[Planted]) -> dict[str, Any]:
    """Strangers and twins among the pictures of stand-in personas."""
    spec = CurateSpec()
    rows: list[Counts] = []
    twins = own = doubtful = 0
    for one in planted:
        findings, _ = audit_pictures([*one.own, *one.strangers], spec, resolution_px=128)
        accused = {f.name for f in findings if f.reason == "off_persona"}
        doubtful += sum(f.reason == "doubtful" for f in findings)
        true = {r.name for r in one.strangers}
        rows.append((len(accused & true), len(accused - true), len(true - accused)))
        own += len(one.own)
        findings, _ = audit_pictures([*one.own, *one.twins], spec, resolution_px=128)
        accused = {f.name for f in findings if f.reason == "off_persona"}
        twins += len(accused & {r.name for r in one.twins})
    return {
        **_told(rows),
        "personas": len(planted),
        "own_pictures": own,
        "strangers": sum(len(one.strangers) for one in planted),
        "doubtful": doubtful,
        "twins_found": twins,
        "twins": sum(len(one.twins) for one in planted),
    }


def figures_orl(folder: Path) -> dict[str, Any]:
    """One photograph of another person among nine of one, for 30 persons under the free pack."""
    engine = open_engine(find_pack("free"))
    people: list[npt.NDArray[np.float32]] = []
    for place in sorted(p for p in folder.iterdir() if p.is_dir()):
        pictures = [load_picture(path).rgb for path in sorted(place.glob("*.pgm"))]
        large = [resize(p, p.shape[1] * ORL_ENLARGE, p.shape[0] * ORL_ENLARGE) for p in pictures]
        rows = [r.emb for r in engine.read_many(large) if r.emb is not None]
        people.append(np.stack(rows))
    spec = CurateSpec()
    rows_found: list[Counts] = []
    for who, own in enumerate(people):
        found = accused = missed = 0
        for draw in range(ORL_DRAWS):
            rng = stream("bench orl mix", who, draw)
            other = int(rng.choice([i for i in range(len(people)) if i != who]))
            kept = rng.permutation(len(own))[:ORL_OWN]
            stranger = people[other][int(rng.integers(len(people[other])))]
            marks = audit_identity(
                np.concatenate([own[kept], stranger[None]]),
                z_cut=spec.off_persona_z,
                ratio_cut=spec.off_persona_ratio,
            ).strangers
            found += int(marks[-1])
            missed += int(not marks[-1])
            accused += int(marks[:-1].sum())
        rows_found.append((found, accused, missed))
    return {
        **_told(rows_found),
        "persons": len(people),
        "sets": len(people) * ORL_DRAWS,
        "pictures_read": sum(len(p) for p in people),
    }


def _told(rows: Sequence[Counts]) -> dict[str, Any]:
    table = np.asarray(rows, dtype=np.float64)
    return {
        "found": int(table[:, 0].sum()),
        "falsely_accused": int(table[:, 1].sum()),
        "missed": int(table[:, 2].sum()),
        "precision": _share(table, 0, 1),
        "recall": _share(table, 0, 2),
    }


def _share(table: npt.NDArray[np.float64], good: int, bad: int) -> dict[str, float]:
    """Pooled share with its jackknife interval over rows (the rule of three where nothing went wrong)."""
    n = len(table)
    hit, miss = table[:, good], table[:, bad]
    whole = hit.sum() / max(1.0, hit.sum() + miss.sum())
    left = (hit.sum() - hit) / np.maximum(1.0, hit.sum() - hit + miss.sum() - miss)
    se = float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
    low = 1.0 - 3.0 / n if miss.sum() == 0 else whole - 1.96 * se
    return {
        "share": round(float(whole), 4),
        "n": int(hit.sum() + miss.sum()),
        "low": round(max(0.0, float(low)), 4),
        "high": round(min(1.0, float(whole + 1.96 * se)), 4),
    }


def orl_folder() -> Path | None:
    """Where the ORL photographs lie, if they are on this machine."""
    shared = os.environ.get("VULTUS_SHARED")
    places = [Path(shared)] if shared else [folder.parent for folder in model_folders()]
    return next((p / "photos" / "orl" for p in places if (p / "photos" / "orl").is_dir()), None)


def show(name: str, found: dict[str, Any]) -> None:
    """One line of the table."""
    for key in ("precision", "recall"):
        share = found[key]
        print(
            f"{name:10} {key:10} {share['share']:.3f}  ({share['low']:.3f} .. {share['high']:.3f})"
        )
    print(
        f"{name:10} found {found['found']}, falsely accused {found['falsely_accused']}, missed {found['missed']}"
    )


def measure(personas: int = PERSONAS) -> dict[str, Any]:
    """All figures of the audit, by world."""
    figures: dict[str, Any] = {"standin": figures_standin(read_personas(personas))}
    folder = orl_folder()
    if folder is None:
        print("ORL: not on this machine, its row is missing")
    else:
        figures["orl"] = figures_orl(folder)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="figures of the identity audit")
    parser.add_argument("--personas", type=int, default=PERSONAS)
    for name, found in measure(parser.parse_args().personas).items():
        show(name, found)


if __name__ == "__main__":
    main()
