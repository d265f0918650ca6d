"""A set of pictures with known people, made into trials: which pairs, which cosines, which files.

A folder holds one folder per person; every pair is a trial. A CSV names its pairs itself: columns
`first`, `second`, `same` (yes or no; 1 or 0), paths relative to the CSV.

**Notation**
    trial     two pictures and whether they show one person
    missed    trials in which a face could not be read: told, never counted as either
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vultus.core.errors import FaceError
from vultus.core.files import write_text
from vultus.faces.packs import Pack
from vultus.faces.plots import error_curve_svg, histogram_svg
from vultus.faces.records import FaceResult
from vultus.faces.similarity import Vectors
from vultus.faces.verification import Verified, verify, verify_people
from vultus.images.load import list_pictures

__all__ = ["Found", "Trials", "read_trials", "write_tables"]

_YES: Final = {"yes": True, "1": True, "true": True, "same": True}
_NO: Final = {"no": False, "0": False, "false": False, "different": False}
TOLD: Final = 5


@dataclass(frozen=True)
class Pair:
    """One trial with its cosine."""

    first: Path
    second: Path
    same: bool
    cosine: float


@dataclass(frozen=True, eq=False)
class Found:
    """The figures of all trials, and the trials themselves, worst first within each kind."""

    figures: Verified
    pairs: tuple[Pair, ...]
    missed: int
    unread: tuple[Path, ...]

    def sample(self, same: bool) -> npt.NDArray[np.float64]:
        """The cosines of one kind."""
        return np.array([pair.cosine for pair in self.pairs if pair.same is same])

    def lines(self, pack: Pack) -> list[str]:
        """For people."""
        f = self.figures
        known = not np.isnan(f.eer_low)
        span = f" (95 %: {100 * f.eer_low:.2f} .. {100 * f.eer_high:.2f} %)" if known else ""
        told = [
            f"{f.genuine} genuine pairs, mean cosine {f.genuine_mean:.3f}",
            f"{f.impostors} impostor pairs, mean {f.impostor_mean:.3f}, highest {f.impostor_max:.3f}",
            f"EER {100 * f.eer:.2f} %{span} at cosine {f.cut:.3f}",
            *(f"TAR {tar:.4f} at FMR {100 * fmr:g} %" for fmr, tar in f.tar.items()),
            f"d' {f.d_prime:.2f}",
        ]
        told += [
            f"{len(self.unread)} pictures without a readable face, {self.missed} trials missed"
        ]
        for same, words in (
            (True, "least alike of one person"),
            (False, "most alike of two people"),
        ):
            worst = [pair for pair in self.pairs if pair.same is same][:TOLD]
            told.append(f"{words}:")
            told += [f"  {p.cosine:.3f}  {p.first}  {p.second}" for p in worst]
        told.append(
            f"pack {pack.name}, digest {pack.digest[7:19]}; the cut holds for such pictures only"
        )
        return told

    def record(self, pack: Pack) -> dict[str, Any]:
        """For `--json`."""
        figures = asdict(self.figures)
        for key in ("eer_low", "eer_high"):
            if np.isnan(figures[key]):
                figures[key] = None
        return {
            "pack": {"name": pack.name, "digest": pack.digest},
            "figures": figures,
            "missed_trials": self.missed,
            "without_face": [str(path) for path in self.unread],
        }


@dataclass(frozen=True)
class Trials:
    """What to read, and what to make of it. Either people (folder) or listed pairs (CSV)."""

    paths: list[Path]
    people: Mapping[Path, str]
    listed: Sequence[tuple[Path, Path, bool]]

    def run(self, results: Mapping[Path, FaceResult]) -> Found:
        """The figures, from the readings of `paths`."""
        embs = {path: r.emb for path, r in results.items() if r.emb is not None}
        unread = tuple(path for path in self.paths if path not in embs)
        listed = self.listed or _all_pairs(self.paths, self.people)
        pairs = []
        for first, second, same in listed:
            if first in embs and second in embs:
                value = float(embs[first].astype(np.float64) @ embs[second].astype(np.float64))
                pairs.append(Pair(first, second, same, value))
        ordered = sorted(pairs, key=lambda p: p.cosine if p.same else -p.cosine)
        if self.people and embs:
            read = [path for path in self.paths if path in embs]
            digest = next(iter(results.values())).pack_digest
            rows = np.stack([embs[path] for path in read]).astype(np.float32)
            figures = verify_people(Vectors(rows, digest), [self.people[path] for path in read])
        else:
            g = np.array([pair.cosine for pair in pairs if pair.same])
            i = np.array([pair.cosine for pair in pairs if not pair.same])
            figures = verify(g, i)
        return Found(figures, tuple(ordered), len(listed) - len(pairs), unread)


def read_trials(source: Path) -> Trials:
    """A folder of people or a CSV of pairs. Raises FaceError with what is wrong with it."""
    return _from_folder(source) if source.is_dir() else _from_csv(source)


def write_tables(folder: Path, found: Found, pack: Pack) -> list[Path]:
    """pairs.csv with every trial, and the two charts."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["first", "second", "same", "cosine", "pack_digest"])
    for p in found.pairs:
        same = "yes" if p.same else "no"
        writer.writerow([p.first, p.second, same, f"{p.cosine:.6f}", pack.digest])
    g, i = found.sample(True), found.sample(False)
    cut = found.figures.cut
    files = {
        folder / "pairs.csv": out.getvalue(),
        folder / "histogram.svg": histogram_svg(g, i, cut, f"Cosines by {pack.name}"),
        folder / "errors.svg": error_curve_svg(g, i, f"Errors of {pack.name} at every cut"),
    }
    for path, text in files.items():
        write_text(path, text)
    return list(files)


def _all_pairs(paths: Sequence[Path], people: Mapping[Path, str]) -> list[tuple[Path, Path, bool]]:
    return [
        (first, second, people[first] == people[second])
        for k, first in enumerate(paths)
        for second in paths[k + 1 :]
    ]


def _from_folder(folder: Path) -> Trials:
    people: dict[Path, str] = {}
    for person in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        if not person.name.startswith("."):
            people |= dict.fromkeys(list_pictures(person)[0], person.name)
    if len(set(people.values())) < 2:
        raise FaceError(
            f"pictures of {len(set(people.values()))} people",
            where=str(folder),
            expected="one folder per person, two people or more",
            next_command="make a folder for each person, with that person's pictures in it",
        )
    return Trials(list(people), people, ())


def _from_csv(path: Path) -> Trials:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise FaceError(
            f"cannot be read as a list of pairs ({fault})",
            where=str(path),
            expected="a CSV with the columns first, second, same; or a folder of people",
            next_command=f"ls {shlex.quote(str(path.parent))}",
        ) from fault
    listed = []
    for number, row in enumerate(rows, start=2):
        word = str(row.get("same") or "").strip().lower()
        names = [str(row.get(key) or "").strip() for key in ("first", "second")]
        if not all(names) or word not in _YES | _NO:
            raise FaceError(
                f"line {number} is not a pair",
                where=str(path),
                expected="first,second,same with two file names and yes or no",
                next_command=f"mend line {number} of {shlex.quote(str(path))}",
            )
        first, second = (path.parent / name for name in names)
        listed.append((first, second, (_YES | _NO)[word]))
    paths = list(dict.fromkeys(p for first, second, _ in listed for p in (first, second)))
    return Trials(paths, {}, listed)
