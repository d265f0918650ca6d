"""Frames chosen from films whose blur is known: how many of 20 are blurred, beside every N-th frame.

python -m bench.curation.frames [--films 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.curation.film import BLURRED_PX, FPS, Film, make_film
from vultus.datasets.frames import FramesSpec, choose, look
from vultus.datasets.video import watch
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack

__all__ = ["figures", "main", "measure", "show"]

WANTED = 20
FIRST = 700
FILMS = 2


def figures(films: int, folder: Path) -> dict[str, Any]:
    """Choose from each film, count what is blurred."""
    engine = open_engine(find_pack("standin"))
    rows = []
    for k in range(films):
        film = make_film(folder / f"film-{k}.mp4", index=FIRST + 4 * k)
        started = time.perf_counter()
        seen = watch(film.path)
        spec = FramesSpec(count=WANTED)
        choice = choose(look(film.path, seen, engine, spec), seen, spec)
        seconds = time.perf_counter() - started
        frames = [one.frame for one in choice.chosen]
        every = [int(i) for i in np.linspace(0, len(film.blur_px) - 1, WANTED)]
        rows.append(
            {
                "frames": len(film.blur_px),
                "blurred_share": _share(film, range(len(film.blur_px))),
                "cuts_found": len(set(seen.cuts) & set(film.cuts)),
                "cuts_false": len(set(seen.cuts) - set(film.cuts)),
                "cuts": len(film.cuts),
                "chosen": len(frames),
                "chosen_blurred": _blurred(film, frames),
                "every_nth_blurred": _blurred(film, every),
                "chosen_yaw_range_deg": float(np.ptp([film.yaw_deg[i] for i in frames])),
                "frames_per_second": len(film.blur_px) / seconds,
                "fallen": choice.fallen,
            }
        )
        print(f"film {k}: {rows[-1]}", flush=True)
    return {
        "films": rows,
        "chosen": sum(row["chosen"] for row in rows),
        "chosen_blurred": sum(row["chosen_blurred"] for row in rows),
        "every_nth": films * WANTED,
        "every_nth_blurred": sum(row["every_nth_blurred"] for row in rows),
        "film_fps": FPS,
    }


def _blurred(film: Film, frames: list[int]) -> int:
    return sum(film.blur_px[i] >= BLURRED_PX for i in frames)


def _share(film: Film, frames: range) -> float:
    return _blurred(film, list(frames)) / len(frames)


def show(found: dict[str, Any]) -> None:
    """The table."""
    print(f"chosen frames blurred   {found['chosen_blurred']:3} of {found['chosen']}")
    print(f"every N-th blurred      {found['every_nth_blurred']:3} of {found['every_nth']}")
    hit = sum(row["cuts_found"] for row in found["films"])
    print(f"cuts found              {hit:3} of {sum(row['cuts'] for row in found['films'])}")


def measure(films: int = FILMS) -> dict[str, Any]:
    """All figures of the frame chooser."""
    with tempfile.TemporaryDirectory() as folder:
        return figures(films, Path(folder))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="figures of the frame chooser")
    parser.add_argument("--films", type=int, default=FILMS)
    show(measure(parser.parse_args().films))


if __name__ == "__main__":
    main()
