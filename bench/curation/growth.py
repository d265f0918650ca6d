"""What a dedupe costs as the set grows: 100 pictures of everything, then the curve, with the memory it took.

Pictures are stand-in persons under ever new circumstances, one in ten an edited copy of another. CPU seconds are told
beside wall seconds, because a busy machine stretches only the latter. The curve reads each picture once and measures
searching and comparing apart, at sizes that double; `--large` goes to 10,000.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.curation.edits import edit
from vultus.core.progress import Progress
from vultus.core.seeds import stream
from vultus.datasets.dedupe import dedupe
from vultus.datasets.intake import ingest_sources
from vultus.datasets.library import Library
from vultus.datasets.records import CurateSpec
from vultus.images.write import save_png
from vultus.standin.personas import clean_pictures

__all__ = ["measure_growth"]

SIZES = (250, 500, 1000)
LARGE = (*SIZES, 2500, 5000, 10_000)


def measure_growth(large: bool = False) -> dict[str, Any]:
    """The small set in whole, then the curve."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        sizes = LARGE if large else SIZES
        truth = _write(root / "pictures", sizes[-1])
        hundred = _run(root, truth, 100, "hundred")
        # One dataset that grows: each picture is read once, searching and comparing is measured at every size.
        rows = [_run(root, truth, size, "curve") for size in sizes]
    once = ("ingest", "reading")
    whole = sum(row["stages_wall_s"].get(stage, 0.0) for row in rows for stage in once)
    whole += sum(s for stage, s in rows[-1]["stages_wall_s"].items() if stage not in once)
    each = [row["cpu_s_search_and_compare"] / row["pictures"] for row in rows]
    return {
        "hundred": hundred,
        "curve": {str(row["pictures"]): row for row in rows},
        # What the last size takes from nothing: its pictures were ingested and read in parts, once each.
        "whole_last": {
            "pictures": sizes[-1],
            "wall_s": round(whole, 1),
            "peak_mib": rows[-1]["peak_mib"],
        },
        "cost_per_picture_last_to_first": round(each[-1] / each[0], 2),
        "size_last_to_first": sizes[-1] / sizes[0],
    }


def _write(folder: Path, count: int) -> dict[str, str]:
    """Write pictures; returns copy -> original."""
    folder.mkdir()
    truth: dict[str, str] = {}
    kinds = ("jpeg 50", "crop 80", "flip", "resize 50", "brighter 20")
    made = 0
    with Progress(count, "drawing", "pictures", out=sys.stderr) as progress:
        for index in range(count):
            if made >= count:
                break
            for k, (rgb, _) in enumerate(clean_pictures(300 + index, 45)):
                names = [(f"{made:05d}.png", rgb)]
                if k % 9 == 0:
                    kind = kinds[(k // 9) % len(kinds)]
                    names.append(
                        (
                            f"{made + 1:05d}.png",
                            edit(kind, rgb, stream("bench", "growth", index, k)),
                        )
                    )
                    truth[names[1][0]] = names[0][0]
                for name, pixels in names:
                    save_png(folder / name, pixels, xmp_ai=False)
                    made += 1
                    progress.advance()
    return truth


def _run(root: Path, truth: dict[str, str], size: int, kind: str) -> dict[str, Any]:
    """Ingest and dedupe the first `size` pictures, stage by stage."""
    chosen = sorted((root / "pictures").iterdir())[:size]
    names = {path.name for path in chosen}
    spent: dict[str, list[float]] = {}
    began = [time.monotonic(), time.process_time()]

    def follow(stage: str, done: int, of: int) -> None:
        del done, of
        now = [time.monotonic(), time.process_time()]
        row = spent.setdefault(stage, [0.0, 0.0])
        row[0] += now[0] - began[0]
        row[1] += now[1] - began[1]
        began[:] = now

    with Library.create(root / kind) as library:
        ingest_sources(library, chosen)
        follow("ingest", 0, 0)
        outcome = dedupe(library, CurateSpec(), follow=follow)
        follow("grouping", 0, 0)
    found = {frozenset((g["keep"], m["name"])) for g in outcome["groups"] for m in g["members"]}
    planted = {frozenset(pair) for pair in truth.items() if set(pair) <= names}
    dedupe_stages = [row for stage, row in spent.items() if stage != "ingest"]
    return {
        "pictures": size,
        "pairs_compared": outcome["pairs"],
        "wall_s": round(sum(row[0] for row in spent.values()), 1),
        "cpu_s": round(sum(row[1] for row in spent.values()), 1),
        "cpu_s_dedupe": round(sum(row[1] for row in dedupe_stages), 1),
        "cpu_s_search_and_compare": round(
            sum(spent.get(stage, [0, 0])[1] for stage in ("searching", "comparing", "grouping")), 1
        ),
        "stages_wall_s": {stage: round(row[0], 1) for stage, row in spent.items()},
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "planted": len(planted),
        "planted_found": len(planted & found),
        "others_grouped": len(found - planted),
    }
