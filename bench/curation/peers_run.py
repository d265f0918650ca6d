"""Runs inside a peer's own environment: `python peers_run.py TOOL task.json` prints one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

__all__: list[str] = []

Judge = Callable[[str, str], bool]


def _imagehash(folder: Path, names: list[str]) -> dict[str, Judge]:
    import imagehash
    from PIL import Image

    makers: dict[str, tuple[Callable[[Any], Any], int]] = {
        "phash <= 10 of 64": (lambda x: imagehash.phash(x), 10),
        "dhash <= 8 of 64": (lambda x: imagehash.dhash(x), 8),
        "ahash <= 10 of 64": (lambda x: imagehash.average_hash(x), 10),
    }
    known: dict[str, dict[str, Any]] = {label: {} for label in makers}
    for name in names:
        with Image.open(folder / name) as image:
            rgb = image.convert("RGB")
            for label, (make, _) in makers.items():
                known[label][name] = make(rgb)
    return {
        label: (lambda a, b, label=label, cut=cut: known[label][a] - known[label][b] <= cut)  # type: ignore[misc]
        for label, (_, cut) in makers.items()
    }


def _pdqhash(folder: Path, names: list[str]) -> dict[str, Judge]:
    import numpy as np
    import pdqhash
    from PIL import Image

    known = {}
    for name in names:
        with Image.open(folder / name) as image:
            known[name] = np.asarray(pdqhash.compute(np.asarray(image.convert("RGB")))[0])
    return {"pdq <= 31 of 256": lambda a, b: int((known[a] != known[b]).sum()) <= 31}


def _imagededup(folder: Path, names: list[str]) -> dict[str, Judge]:
    # Its package imports its CNN, and that torch and torchvision; the hash needs neither (nor are they installed).
    for absent in ("imagededup.utils.models", "imagededup.methods.cnn"):
        sys.modules[absent] = MagicMock()
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    known = {name: hasher.encode_image(image_file=str(folder / name)) for name in names}
    return {"PHash <= 10 of 64": lambda a, b: hasher.hamming_distance(known[a], known[b]) <= 10}


def _cleanvision(folder: Path, names: list[str]) -> dict[str, Judge]:
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=[str(folder / name) for name in names])
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    sets = [s for kind in ("exact_duplicates", "near_duplicates") for s in lab.info[kind]["sets"]]
    group: dict[str, set[int]] = {}
    for n, one in enumerate(sets):
        for path in one:
            group.setdefault(Path(path).name, set()).add(n)
    return {"default": lambda a, b: bool(group.get(a, set()) & group.get(b, set()))}


TOOLS = {
    "imagehash": _imagehash,
    "pdqhash": _pdqhash,
    "imagededup": _imagededup,
    "cleanvision": _cleanvision,
}


def main() -> None:
    """Judge every pair of the task and print the shares."""
    task = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    folder = Path(task["folder"])
    names = sorted(
        {n for row in task["positives"] for n in row[:2]}
        | {n for row in task["negatives"] for n in row}
    )
    began = time.process_time()
    judges = TOOLS[sys.argv[1]](folder, names)
    rows = {}
    for label, judge in judges.items():
        hits: Counter[str] = Counter(kind for a, b, kind in task["positives"] if judge(a, b))
        of: Counter[str] = Counter(kind for _, _, kind in task["positives"])
        rows[label] = {
            "recall": round(sum(hits.values()) / sum(of.values()), 4),
            "n": sum(of.values()),
            "flip": round(hits["flip"] / of["flip"], 3),
            "crop 80": round(hits["crop 80"] / of["crop 80"], 3),
            "crop 60": round(hits["crop 60"] / of["crop 60"], 3),
            "false_positives": sum(bool(judge(a, b)) for a, b in task["negatives"]),
            "negatives": len(task["negatives"]),
        }
    print(
        json.dumps(
            {"cuts": rows, "cpu_s": round(time.process_time() - began, 1), "pictures": len(names)}
        )
    )


if __name__ == "__main__":
    main()
