"""Measure curation: copies found, photographs told apart, other tools beside it, size, faults, and the audits.

    python -m bench.curation.measure                     every part
    python -m bench.curation.measure --part recall       one part; the others keep their figures

Each part is a function in a file beside this one that returns its figures; they end in bench/results/curation.json
under the part's name, with the seconds it took. Parts of a few minutes each on an idle machine with two cores;
`--large` lets the growth curve reach 10,000 pictures.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from typing import Any

from bench.record import RESULTS, record

__all__ = ["PARTS", "main"]

PARTS = {
    "recall": "bench.curation.dedupe:measure_recall",
    "negatives": "bench.curation.dedupe:measure_negatives",
    "peers": "bench.curation.peers:measure_peers",
    "growth": "bench.curation.growth:measure_growth",
    "faults": "bench.curation.faults:measure_faults",
    "audit": "bench.curation.audit:measure",
    "coverage": "bench.curation.coverage:measure",
    "frames": "bench.curation.frames:measure",
}
"""name of a part: where its function is; one that is not there (yet) is told and left out."""


def main() -> None:
    """Run the parts that were asked for and write their figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=sorted(PARTS), default=[])
    parser.add_argument("--large", action="store_true", help="let `growth` reach 10,000 pictures")
    args = parser.parse_args()
    for part in args.part or PARTS:
        work = _find(part)
        if work is None:
            print(f"{part}: not there ({PARTS[part]})")
            continue
        began, cpu = time.monotonic(), time.process_time()
        figures = work(large=True) if part == "growth" and args.large else work()
        seconds = {"wall_s": time.monotonic() - began, "cpu_s": time.process_time() - cpu}
        _keep(part, {**figures, "took": {key: round(value, 1) for key, value in seconds.items()}})
        _show(part, figures)


def _find(part: str) -> Callable[..., dict[str, Any]] | None:
    module, _, name = PARTS[part].partition(":")
    try:
        found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as fault:
        if fault.name != module:
            raise
        return None
    return found


def _keep(part: str, figures: dict[str, Any]) -> None:
    """Renew one part of the committed figures; the whole takes this run's machine and commit."""
    path = RESULTS / "curation.json"
    before: dict[str, Any] = {"figures": {}}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
    every: dict[str, Any] = {**before["figures"], part: figures}
    took = sum(one.get("took", {}).get("wall_s", 0.0) for one in every.values())
    record("curation", {name: every[name] for name in PARTS if name in every}, seconds=took)


def _show(part: str, figures: dict[str, Any]) -> None:
    print(f"\n{part}")
    for name, value in figures.items():
        if isinstance(value, dict) and set(value) >= {"share", "n", "low", "high"}:
            print(
                f"  {name:26s} {value['share']:.4f}  ({value['low']} to {value['high']}, n = {value['n']})"
            )
        elif isinstance(value, dict):
            print(f"  {name}")
            for key, one in value.items():
                print(f"    {key:34s} {json.dumps(one)}")
        elif isinstance(value, list):
            print(f"  {name}: {len(value)}")
            for one in value[:40]:
                print(f"    {json.dumps(one) if not isinstance(one, str) else one}")
        else:
            print(f"  {name:26s} {value}")


if __name__ == "__main__":
    main()
