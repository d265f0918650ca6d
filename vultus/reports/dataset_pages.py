"""The contact sheets of `vultus dataset ingest | dedupe | freeze | export | show`.

**Notation**
    matrix     lays a member over its partner, in shares of their longer sides   (2, 3)
    proof      the two laid over each other: one in red, one in cyan. Where they agree it is grey; where something
               moved or was drawn over it, colour remains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PictureError
from vultus.datasets.freeze import Frozen
from vultus.datasets.library import Library
from vultus.datasets.records import Entry
from vultus.reports.contact_sheet import Section, Sheet, Tile, Tone, write_sheet

__all__ = ["dedupe_page", "export_page", "freeze_page", "ingest_page", "proof", "show_page"]

PROOF_PX = 224
MOST_PROOFS = 150
KIND_WORDS: dict[str, tuple[str, Tone]] = {
    "identical": ("identical", "bad"),
    "edited": ("edited copy", "bad"),
    "burst": ("burst", "warn"),
}


def ingest_page(library: Library) -> Path:
    """Every picture as it came in, and what was refused."""
    outcome = library.read_stage("ingest") or {}
    entries = library.entries()
    refused = [f"{name}: {reason}" for name, reason in outcome.get("refused", [])]
    sections = [
        Section("Pictures", "", tuple(_tile(library, one, _origin(one)) for one in entries))
    ]
    if refused:
        sections.append(
            Section("Refused", "These files are not in the dataset.", lines=tuple(refused))
        )
    sheet = Sheet(
        "Ingested",
        "Read-only copies are kept in the dataset folder; the originals stay as they are.",
        (
            ("pictures", str(len(entries))),
            ("refused", str(len(refused))),
            ("digest", str(outcome.get("digest"))[7:19]),
        ),
        tuple(sections),
    )
    return write_sheet(library.page("ingest"), sheet)


def dedupe_page(library: Library, outcome: Mapping[str, Any]) -> Path:
    """Each group: the picture to keep, the others, and the proof that they are one shot."""
    by_name = {entry.name: entry for entry in library.entries()}
    gone = library.set_aside()
    sections = []
    proofs = 0
    for group in outcome["groups"]:
        tiles = [
            _tile(library, by_name[group["keep"]], ("stays: " + group["reason"],), "keep", "good")
        ]
        for member in group["members"]:
            word, tone = KIND_WORDS[member["kind"]]
            badge = f"{word}, set aside" if member["name"] in gone else word
            told = (member["how"], member["evidence"])
            tiles.append(_tile(library, by_name[member["name"]], told, badge, tone))
            if member["matrix"] is not None and proofs < MOST_PROOFS:
                proofs += 1
                laid = proof(
                    library, by_name[member["name"]], by_name[member["partner"]], member["matrix"]
                )
                if laid is not None:
                    tiles.append(Tile(laid, ("laid over each other", "grey: they agree"), "proof"))
        sections.append(Section(group["keep"], "", tuple(tiles)))
    kinds = [member["kind"] for group in outcome["groups"] for member in group["members"]]
    sheet = Sheet(
        "Pictures that are one shot",
        "A proposal: one picture of each group stays. Bursts are two exposures a moment apart; they stay unless you "
        "say otherwise."
        if kinds
        else "No picture repeats another one.",
        (
            ("pictures", str(outcome["pictures"])),
            ("identical", str(kinds.count("identical"))),
            ("edited copies", str(kinds.count("edited"))),
            ("burst siblings", str(kinds.count("burst"))),
            ("set aside so far", str(len(gone))),
        ),
        tuple(sections),
    )
    return write_sheet(library.page("dedupe"), sheet)


def freeze_page(library: Library, frozen: Frozen) -> Path:
    """The frozen list by side, with captions and buckets."""
    return write_sheet(library.page("freeze"), _frozen_sheet(library, frozen, "Frozen"))


def export_page(library: Library, frozen: Frozen, form: str) -> Path:
    """What was exported: the training side of a frozen list."""
    sheet = _frozen_sheet(library, frozen, f"Exported for {form}", sides=("training",))
    return write_sheet(library.page("export"), sheet)


def show_page(library: Library) -> Path:
    """Everything that is kept, and everything that was set aside with its reason."""
    gone = library.set_aside()
    kept = library.kept()
    names = {one.name for one in kept}
    aside = [one for one in library.entries() if one.name not in names]
    why = [
        (one, gone[one.name].reason if one.name in gone else "its parent is set aside")
        for one in aside
    ]
    sections = (
        Section("Kept", "", tuple(_tile(library, one, (_size(one),)) for one in kept)),
        Section(
            "Set aside",
            "Nothing was deleted; every decision can be undone.",
            tuple(_tile(library, one, (reason,), "aside", "warn") for one, reason in why),
        ),
    )
    sheet = Sheet(
        "The dataset",
        "",
        (("kept", str(len(kept))), ("set aside", str(len(aside)))),
        tuple(section for section in sections if section.tiles),
    )
    return write_sheet(library.page("show"), sheet)


def proof(
    library: Library, member: Entry, partner: Entry, matrix: Sequence[Sequence[float]]
) -> npt.NDArray[np.uint8] | None:
    """The member in red over the partner in cyan, uint8 (h, w, 3); None when one cannot be read."""
    from vultus.images.geometry import fit_within, luma, warp
    from vultus.images.load import load_picture

    try:
        a, _ = fit_within(load_picture(library.path(member)).rgb, PROOF_PX)
        b, _ = fit_within(load_picture(library.path(partner)).rgb, PROOF_PX)
    except PictureError:
        return None
    laid = np.array(matrix, dtype=np.float64)
    # matrix is in shares of the longer sides; member onto partner
    onto = np.column_stack(
        [laid[:, :2] * (max(b.shape[:2]) / max(a.shape[:2])), laid[:, 2] * max(b.shape[:2])]
    )
    height, width = b.shape[:2]
    under, over = _levelled(luma(b)), _levelled(luma(a))
    moved = warp(over.astype(np.uint8), onto, width, height)
    covered = warp(np.full(a.shape[:2], 255, np.uint8), onto, width, height) > 127
    red = np.where(covered, moved, under // 3).astype(np.uint8)
    cyan = np.where(covered, under, under // 3).astype(np.uint8)
    return np.stack([red, cyan, cyan], axis=2)


def _levelled(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Brightness stretched between its 2nd and 98th percentile, so that recoloured copies agree."""
    low, high = np.percentile(grey, (2, 98))
    return np.asarray(np.clip((grey - low) / max(float(high - low), 1.0) * 255, 0, 255), np.uint8)


def _frozen_sheet(
    library: Library, frozen: Frozen, title: str, sides: Sequence[str] = ("reference", "training")
) -> Sheet:
    rows = frozen.manifest["pictures"]
    words = {"reference": "Held out as references", "training": "Trained on"}
    sections = []
    for side in sides:
        tiles = tuple(
            Tile(
                library.blobs.path(row["content_id"]),
                (
                    row["name"],
                    row["caption"] or "no caption",
                    f"bucket {row['bucket'][0]} x {row['bucket'][1]} px",
                ),
                "masked" if row["mask"] else "",
            )
            for row in rows
            if row["role"] == side
        )
        if tiles:
            sections.append(Section(words[side], "", tiles))
    facts = [(words[side].lower(), str(sum(row["role"] == side for row in rows))) for side in sides]
    return Sheet(
        title,
        f"Manifest {frozen.digest}",
        (*facts, ("resolution, px", str(frozen.manifest["resolution_px"]))),
        tuple(sections),
    )


def _tile(
    library: Library, entry: Entry, words: Sequence[str] = (), badge: str = "", tone: Tone = ""
) -> Tile:
    return Tile(library.path(entry), (entry.name, *words), badge, tone)


def _origin(entry: Entry) -> tuple[str, ...]:
    origin = dict(entry.origin)
    told = [_size(entry)]
    if "generator" in origin:
        told.append(
            origin["generator"] + (f": {origin['prompt'][:90]}" if "prompt" in origin else "")
        )
    return (*told, *entry.notes)


def _size(entry: Entry) -> str:
    return f"{entry.width_px} x {entry.height_px} px, {entry.format}"
