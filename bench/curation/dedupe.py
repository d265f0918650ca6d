"""Copies found and photographs told apart, on the half of the pictures that no cut was chosen on.

recall       every kind of edit of `bench.curation.edits` of every base: called an edited copy? in a group at all?
negatives    all pairs of different photographs, ORL, gyro and stand-in: how many are called copies (must be none),
             how many bursts
searched     the same copies among all other pictures, above the size where every pair is compared: does the
             search for neighbours propose the pair?
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from bench.curation.edits import EDITS, SURE, edit
from bench.curation.material import Base, bases, negatives
from vultus.core.progress import Progress
from vultus.core.seeds import stream
from vultus.datasets import neighbours
from vultus.datasets.compare import compare
from vultus.datasets.prints import Print, measure_print, pack, packed_parts, unpack
from vultus.datasets.records import CurateSpec
from vultus.stats.estimate import wilson

__all__ = ["measure_negatives", "measure_recall"]


def _print(rgb: Any) -> Print:
    """A print as dedupe sees it: packed for the disk and unpacked again."""
    return unpack(pack(measure_print(rgb)))


def measure_recall(half: int = 1, every: int = 2) -> dict[str, Any]:
    """Recall by kind and by source, with Wilson intervals, and whether the search proposes the pairs."""
    spec = CurateSpec()
    chosen = bases(half, every)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    missed: list[str] = []
    known: list[Print] = []
    pairs: list[tuple[int, int]] = []
    with Progress(len(chosen) * len(EDITS), "edited copies", "copies", out=sys.stderr) as progress:
        for base in chosen:
            whole = _print(base.rgb)
            known.append(whole)
            place = len(known) - 1
            for kind in EDITS:
                copy = _print(edit(kind, base.rgb, stream("bench", "edit", base.name, kind)))
                link = compare(whole, copy, spec)
                verdict = "missed" if link is None else link.kind
                found[kind][verdict] += 1
                by_source[base.source][verdict] += 1
                if verdict != "edited":
                    missed.append(f"{base.name}: {kind} ({verdict})")
                known.append(copy)
                pairs.append((place, len(known) - 1))
                progress.advance()
    total = sum(found.values(), Counter())
    sure = sum((found[kind] for kind in SURE), Counter())
    return {
        "half": half,
        "pictures": len(chosen),
        "edit_kinds": len(EDITS),
        "copies": sum(total.values()),
        "called_copy": _share(total["edited"], sum(total.values())),
        "in_a_group": _share(total["edited"] + total["burst"], sum(total.values())),
        "flips_and_crops_from_60": _share(sure["edited"], sum(sure.values())),
        "by_source": {s: _share(c["edited"], sum(c.values())) for s, c in by_source.items()},
        "by_kind": {kind: round(c["edited"] / sum(c.values()), 3) for kind, c in found.items()},
        "missed": missed,
        "searched": _searched(known, pairs, half),
    }


def _searched(known: list[Print], pairs: list[tuple[int, int]], half: int) -> dict[str, Any]:
    """Hide the copies among the negatives and ask the search which pairs deserve a comparison."""
    others = [one for group in negatives(half).values() for one in group]
    everything = [packed_parts(pack(one)) for one in known]
    everything += [packed_parts(pack(measure_print(one.rgb))) for one in others[::2]]
    proposed = set(
        neighbours.candidate_pairs(
            len(everything), lambda a, b: everything[a:b], CurateSpec().hash_bits
        )
    )
    hit = sum(pair in proposed for pair in pairs)
    return {
        "pictures": len(everything),
        "pairs_proposed": len(proposed),
        "of_all_pairs": round(len(proposed) / (len(everything) * (len(everything) - 1) / 2), 4),
        "copies_proposed": _share(hit, len(pairs)),
    }


def measure_negatives(half: int = 1) -> dict[str, Any]:
    """Compare all pairs of different photographs; a copy among them is a false positive, told by name."""
    spec = CurateSpec()
    groups = negatives(half)
    total = sum(len(list(_pairs(source, group))) for source, group in groups.items())
    rows: dict[str, Any] = {}
    false: list[str] = []
    with Progress(total, "different photographs", "pairs", out=sys.stderr) as progress:
        for source, group in groups.items():
            known = [_print(one.rgb) for one in group]
            seen: Counter[str] = Counter()
            for (i, a), (j, b) in _pairs(source, group):
                link = compare(known[i], known[j], spec)
                seen["pairs"] += 1
                seen["one_person"] += a.person == b.person
                if link is not None:
                    seen[link.kind] += 1
                    if link.kind != "burst":
                        false.append(_told(a, b, link.evidence))
                progress.advance()
            rows[source] = {
                "pairs": seen["pairs"],
                "of_one_person": seen["one_person"],
                "called_copy": seen["edited"] + seen["identical"],
                "called_burst": seen["burst"],
            }
    return {"half": half, "pairs": total, "false_positives": false, "by_source": rows}


def _pairs(source: str, group: list[Base]) -> Iterator[tuple[tuple[int, Base], tuple[int, Base]]]:
    """All pairs of a source; of the stand-in only those of one person, who are the hard ones."""
    for first, second in combinations(enumerate(group), 2):
        if source != "standin" or first[1].person == second[1].person:
            yield first, second


def _told(a: Base, b: Base, evidence: str) -> str:
    return f"{a.name} and {b.name}: {evidence}"


def _share(hits: int, of: int) -> dict[str, Any]:
    """A share with its 95 % Wilson interval and its n."""
    found = wilson(hits, of)
    return {
        "share": round(found.value, 4),
        "n": of,
        "low": round(found.low, 4),
        "high": round(found.high, 4),
    }
