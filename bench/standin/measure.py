"""The stand-in world's figures: recognisers, detector, twin test, latent space, obedience of generated pictures.

    python -m bench.standin.measure [--quick]

Notation
    cosine      of a face vector to the mean of a person's vectors, leave-one-out; judge = recogniser a
    TAR @ FMR   share of same-person pairs accepted at the cut that one stranger pair in a thousand passes
    share       cosine above the strangers' mean, as a share of the same with untouched pictures (the ceiling)
All people here are `unseen`: no net was trained on them. Landmarks are detected, never given.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import vultus.standin
from bench.record import record
from vultus.core.seeds import stream
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack
from vultus.faces.records import FaceEngine
from vultus.standin.build.data import person_of
from vultus.standin.identity import twin_of
from vultus.standin.nuisance import FRAMINGS, sample_nuisance, without_accessories
from vultus.standin.render import render

Rgb = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
PEOPLE = 64
EACH = 12


def pictures(
    people: int, each: int
) -> tuple[list[Rgb], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pictures of unseen people, framings in turn, accessories as they come."""
    rows, who, framing = [], [], []
    for i in range(people):
        for k in range(each):
            scene = sample_nuisance(stream("bench", "standin", i, k), framing=FRAMINGS[k % 3])
            rows.append(render(person_of("unseen", i), scene).rgb)
            who.append(i)
            framing.append(k % 3)
    return rows, np.array(who), np.array(framing)


def renderer_speed(count: int) -> dict[str, float]:
    """Pictures a core draws in a second: processor time, one thread, accessories as they come."""
    cv2.setNumThreads(1)
    people = [person_of("unseen", i) for i in range(8)]
    scenes = [sample_nuisance(stream("bench", "speed", k)) for k in range(count)]
    began = time.process_time()
    for k, scene in enumerate(scenes):
        render(people[k % len(people)], scene)
    return {"pictures_per_core_s": count / (time.process_time() - began), "n": count}


def shipped_bytes() -> dict[str, float]:
    """Size of everything of the stand-in that ships; links count nothing."""
    root = Path(vultus.standin.__file__).parent
    sizes = {
        part: sum(f.lstat().st_size for f in (root / part).rglob("*") if not f.is_symlink()) / 1e6
        for part in ("weights", "demo")
    }
    return {f"{part}_mb": size for part, size in sizes.items()}


def embed(engine: FaceEngine, rgbs: list[Rgb]) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """Face vectors (zeros where no face was found), and where one was found."""
    read = engine.read_many(rgbs)
    width = next(len(r.emb) for r in read if r.emb is not None)
    emb = np.stack([r.emb if r.emb is not None else np.zeros(width, np.float32) for r in read])
    return emb, np.array([r.emb is not None for r in read])


def verification(emb: Vectors, who: npt.NDArray[np.int64]) -> dict[str, float]:
    """TAR at FMR 1e-3 over all pairs, with medians of both kinds of pairs."""
    cosine = emb @ emb.T
    upper = np.triu(np.ones(cosine.shape, bool), 1)
    same = who[:, None] == who[None, :]
    genuine, strangers = cosine[upper & same], cosine[upper & ~same]
    cut = float(np.quantile(strangers, 0.999))
    return {
        "tar_at_fmr_1e-3": float((genuine > cut).mean()),
        "cut": cut,
        "genuine_median": float(np.median(genuine)),
        "strangers_mean": float(strangers.mean()),
        "pairs_genuine": int(genuine.size),
        "pairs_strangers": int(strangers.size),
    }


def to_prototypes(
    emb: Vectors, found: npt.NDArray[np.bool_], who: npt.NDArray[np.int64], others: Vectors
) -> npt.NDArray[np.float64]:
    """Cosine of `others[i]` to person who[i]'s mean vector made of the remaining untouched pictures."""
    out = np.full(len(who), np.nan)
    for i, person in enumerate(who):
        rest = (who == person) & found
        rest[i] = False
        centre = emb[rest].mean(0)
        out[i] = float(others[i] @ centre / np.linalg.norm(centre))
    return out


def twins(engine: FaceEngine, people: int) -> dict[str, float]:
    """How far equal colours alone carry: (twin - stranger) / (genuine - stranger)."""
    gaps = []
    for i in range(people):
        who, rng = person_of("unseen", i), stream("bench", "twin", i)
        scenes = [
            without_accessories(sample_nuisance(rng, framing=FRAMINGS[k % 2])) for k in range(6)
        ]
        centre = embed(engine, [render(who, s).rgb for s in scenes])[0].mean(0)
        centre /= np.linalg.norm(centre)
        fresh = [replace(s, background_seed=s.background_seed ^ 1) for s in scenes[:3]]
        twin, stranger = twin_of(who, rng), person_of("unseen", (i + 1) % people)
        means = [
            float((embed(engine, [render(p, s).rgb for s in fresh])[0] @ centre).mean())
            for p in (who, twin, stranger)
        ]
        gaps.append(means)
    genuine, twin_mean, stranger_mean = np.array(gaps).mean(0)
    return {
        "genuine": float(genuine),
        "twin": float(twin_mean),
        "stranger": float(stranger_mean),
        "share_of_gap": float((twin_mean - stranger_mean) / (genuine - stranger_mean)),
        "people": people,
    }


def round_trip(
    engine: FaceEngine, rgbs: list[Rgb], who: npt.NDArray[np.int64], framing: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Cosine after the latent space as a share of the ceiling, by framing, and PSNR."""
    from bench.standin.generated import through_latents

    emb, found = embed(engine, rgbs)
    back = through_latents(rgbs)
    emb_back, found_back = embed(engine, back)
    ceiling, after = to_prototypes(emb, found, who, emb), to_prototypes(emb, found, who, emb_back)
    error = np.mean([(a.astype(np.float64) - b) ** 2 for a, b in zip(rgbs, back, strict=True)])
    rows: dict[str, Any] = {
        "psnr_db": float(10 * np.log10(255**2 / error)),
        "found_after": float(found_back.mean()),
    }
    for k, name in enumerate(FRAMINGS):
        at = (framing == k) & found
        rows[name] = {
            "ceiling": float(ceiling[at].mean()),
            "after": float(after[at].mean()),
            "share": float(after[at].mean() / ceiling[at].mean()),
            "n": int(at.sum()),
        }
    return rows


def main() -> None:
    """Measure everything and write bench/results/standin.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a third of the people; no file is written"
    )
    args = parser.parse_args()
    began = time.perf_counter()
    people = PEOPLE // 3 if args.quick else PEOPLE
    rgbs, who, framing = pictures(people, EACH)
    figures: dict[str, Any] = {"people": people, "pictures": len(rgbs)}
    figures["renderer"] = renderer_speed(60 if args.quick else 300)
    figures["shipped"] = shipped_bytes()
    engines = {which: open_engine(find_pack(f"standin:{which}")) for which in ("a", "b")}
    for which, engine in engines.items():
        emb, found = embed(engine, rgbs)
        figures[f"recogniser_{which}"] = verification(emb[found], who[found])
        figures["detector_rendered"] = {"found": float(found.mean()), "n": len(found)}
        figures[f"twin_{which}"] = twins(engine, people // 2)
    figures["latent_round_trip"] = round_trip(engines["a"], rgbs, who, framing)
    from bench.standin.generated import obedience

    figures["generated"] = {
        base: obedience(engines["a"], base, 30 if args.quick else 96)
        for base in ("plain", "soft", "ink")
    }
    _print(figures)
    if not args.quick:
        print(record("standin", figures, seconds=time.perf_counter() - began))


def _print(figures: dict[str, Any], indent: str = "") -> None:
    for key, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print(value, indent + "  ")
        else:
            print(
                f"{indent}{key:22s} {value:.3f}"
                if isinstance(value, float)
                else f"{indent}{key:22s} {value}"
            )


if __name__ == "__main__":
    main()
