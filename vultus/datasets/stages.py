"""The verbs of a dataset folder that measure: audit, coverage, captions, split (those that make pictures: `makings`).

Each one reads the kept pictures (measuring only what is not remembered), decides, writes its outcome to
`stages/<verb>.json` and returns it as records for a page. Nothing is removed: `apply_audit` is the user's word.
Equal pictures, settings and packs give equal outcomes, byte for byte.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vultus.core.errors import DatasetError
from vultus.datasets.audit import Finding, audit_pictures
from vultus.datasets.caption_lint import Lint, lint_captions
from vultus.datasets.captioners import Captioner
from vultus.datasets.captioning import Caption, write_captions
from vultus.datasets.coverage import Coverage, framing_cuts, measure_coverage
from vultus.datasets.kinship import links_of, parents_of
from vultus.datasets.library import Library
from vultus.datasets.persona import Persona
from vultus.datasets.pose import yaw_bin
from vultus.datasets.readings import Reading, read_library
from vultus.datasets.records import Entry, JudgeSpec, SetAside
from vultus.datasets.shotlist import Shot, list_shots
from vultus.datasets.split import Split, families, split_pictures
from vultus.faces.records import FaceEngine

Advance = Callable[..., None]


def unheard(*_: object, **__: object) -> None:
    """Nobody follows the progress."""


@dataclass(frozen=True, eq=False)
class Audited:
    """The findings of an audit, and the readings they were made of."""

    findings: tuple[Finding, ...]
    median: float
    readings: tuple[Reading, ...]


@dataclass(frozen=True, eq=False)
class Captioned:
    """The captions of a set and what is wrong with them."""

    captions: tuple[Caption, ...]
    lints: tuple[Lint, ...]
    mark: str


@dataclass(frozen=True)
class Held:
    """What the split looks at of one picture."""

    name: str
    face_share: float
    facing: str
    face_state: str


def readings_of(
    library: Library, engine: FaceEngine, advance: Advance = unheard
) -> tuple[Reading, ...]:
    """The readings of every kept picture, in name order. Raises DatasetError for an empty dataset."""
    kept = [entry for entry in library.kept() if not entry.derived]
    if not kept:
        raise DatasetError(
            "no picture is left in this dataset",
            where=str(library.folder),
            expected="pictures that are not set aside",
            next_command=f"vultus dataset ingest PICTURES --into {shlex.quote(str(library.folder))}",
        )
    return tuple(read_library(library, engine, kept, advance))


def audit_library(
    library: Library,
    engine: FaceEngine,
    spec: JudgeSpec,
    resolution_px: int,
    advance: Advance = unheard,
) -> Audited:
    """Say what speaks against which picture; proposals only."""
    with library.at_work():
        readings = readings_of(library, engine, advance)
        findings, median = audit_pictures(readings, spec, resolution_px=resolution_px)
        library.write_stage(
            "audit",
            {
                "dataset": library.digest(),
                "pack": engine.pack.name,
                "pack_digest": engine.pack.digest,
                "pictures": len(readings),
                "median_cosine": round(median, 6),
                "findings": [rounded(dataclasses.asdict(finding)) for finding in findings],
            },
        )
    return Audited(tuple(findings), median, readings)


def apply_audit(library: Library, audited: Audited) -> list[SetAside]:
    """Set aside what the audit proposes to drop, by the user's word; returns what is new."""
    rows: dict[str, SetAside] = {}
    for finding in audited.findings:
        if finding.verdict == "drop":
            reason = f"{finding.reason}: {finding.detail}"
            rows.setdefault(finding.name, SetAside(finding.name, reason))
    with library.at_work():
        gone = library.set_aside()
        fresh = [row for name, row in rows.items() if name not in gone]
        library.decide("audit", fresh)
    return fresh


def cover_library(
    library: Library,
    engine: FaceEngine,
    persona: Persona | None,
    wanted: int,
    advance: Advance = unheard,
) -> tuple[Coverage, list[Shot], tuple[Reading, ...]]:
    """Measure the spread of the kept pictures and list what to generate next."""
    with library.at_work():
        readings = readings_of(library, engine, advance)
        coverage = _coverage(library, engine, readings, wanted)
        shots = list_shots(coverage, persona)
        library.write_stage(
            "coverage",
            {
                "dataset": library.digest(),
                "pack_digest": engine.pack.digest,
                "wanted": wanted,
                "evenness": round(coverage.evenness, 6),
                "cells": [dataclasses.asdict(cell) for cell in coverage.cells],
                "without_face": list(coverage.unposed),
                "holes": [dataclasses.asdict(hole) for hole in coverage.holes],
                "lights": dict(coverage.lights),
                "mouths": dict(coverage.mouths),
                "backgrounds": list(coverage.backgrounds),
                "outfits": list(coverage.outfits),
                "accessories": dict(coverage.accessories),
                "shots": [dataclasses.asdict(shot) for shot in shots],
            },
        )
    return coverage, shots, readings


def caption_library(
    library: Library,
    engine: FaceEngine,
    persona: Persona,
    captioner: Captioner,
    advance: Advance = unheard,
) -> Captioned:
    """Caption every kept picture and look for faults; the user's own captions are kept."""
    with library.at_work():
        readings = readings_of(library, engine, advance)
        entries = {entry.name: entry for entry in library.kept()}
        own = {reading.name: entries[reading.name].caption for reading in readings}
        described = _described(library, captioner, [entries[r.name] for r in readings], advance)
        coverage = _coverage(library, engine, readings, len(readings))
        captions = write_captions(readings, own, described, coverage, persona, captioner.mark)
        lints = lint_captions(captions, persona, described)
        library.write_stage(
            "captions",
            {
                "dataset": library.digest(),
                "captioner": captioner.mark,
                "trigger": persona.trigger,
                "captions": {c.name: c.text for c in captions},
                "own": own,
                "by": {c.name: c.by for c in captions},
                "lints": [dataclasses.asdict(lint) for lint in lints],
            },
        )
    return Captioned(tuple(captions), tuple(lints), captioner.mark)


def split_library(
    library: Library,
    engine: FaceEngine,
    spec: JudgeSpec,
    seed: int,
    advance: Advance = unheard,
) -> tuple[Split, tuple[Reading, ...]]:
    """Hold out references before anything trains; copies, bursts, crops and frames of one shot stay together."""
    with library.at_work():
        readings = readings_of(library, engine, advance)
        entries = {entry.name: entry for entry in library.entries()}
        usable = [reading for reading in readings if reading.emb is not None]
        own = [entry for entry in library.kept() if not entry.derived]
        family = families([r.name for r in usable], links_of(library), parents_of(entries))
        held = [
            Held(
                reading.name,
                reading.face_height_px / max(1.0, (reading.width_px * reading.height_px) ** 0.5),
                "ahead" if reading.pose is None else yaw_bin(reading.pose.yaw_deg),
                reading.face_state,
            )
            for reading in usable
        ]
        folder = shlex.quote(str(library.folder))
        more = f"vultus dataset ingest MORE --into {folder} (what is set aside: vultus dataset show {folder})"
        split = split_pictures(held, family, spec, seed, more)
        library.write_stage(
            "split",
            {
                "dataset": library.digest(),
                "pack_digest": engine.pack.digest,
                "seed": seed,
                "asked": f"--seed {seed} --references {spec.references_min} --share {spec.reference_share:g}",
                "roles": {
                    **dict.fromkeys(split.training, "training"),
                    **dict.fromkeys(split.references, "reference"),
                },
                "unused": sorted({entry.name for entry in own} - {r.name for r in usable}),
                "contents": {entry.name: entry.content_id for entry in own},
                "families": dict(sorted(split.family.items())),
                "strata": {key: list(value) for key, value in split.strata.items()},
            },
        )
    return split, readings


def _coverage(
    library: Library, engine: FaceEngine, readings: Sequence[Reading], wanted: int
) -> Coverage:
    captions = {entry.name: entry.caption for entry in library.kept()}
    cuts = framing_cuts(engine.pack)
    profiles = engine.pack.detector.kind != "standin"  # its heads turn 26 degrees at most
    return measure_coverage(readings, captions, wanted=wanted, cuts=cuts, profiles=profiles)


def _described(
    library: Library, captioner: Captioner, entries: Sequence[Entry], advance: Advance
) -> dict[str, str]:
    """A captioner's words for each picture, remembered by its mark."""
    if captioner.mark == "template":
        return {}
    kind = f"caption/{captioner.mark}"
    known = library.recall(kind, {entry.content_id for entry in entries})
    for entry in entries:
        if entry.content_id not in known:
            words = captioner.describe([library.picture(entry.content_id).rgb])[0]
            known[entry.content_id] = words.encode()
            library.remember(kind, {entry.content_id: known[entry.content_id]})
        advance(1)
    return {entry.name: known[entry.content_id].decode() for entry in entries}


def rounded(table: dict[str, Any]) -> dict[str, Any]:
    """Floats to six digits: the last bits of a network differ from machine to machine."""
    return {
        key: round(value, 6)
        if isinstance(value, float)
        else [round(v, 3) if isinstance(v, float) else v for v in value]
        if isinstance(value, tuple)
        else value
        for key, value in table.items()
    }


__all__ = [
    "Advance",
    "Audited",
    "Captioned",
    "Held",
    "apply_audit",
    "audit_library",
    "caption_library",
    "cover_library",
    "readings_of",
    "rounded",
    "split_library",
    "unheard",
]
