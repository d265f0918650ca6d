"""Face packs are data: a folder with `pack.toml` says how faces are found, turned and measured.

A pack names a detector and one or more recognisers with everything their numbers depend on (colour
order, scale, template, flip averaging), its licence and the sha256 of each file. One code path
(faces.engines) runs them all. Packs are found by name: `standin` comes with the package, `free` is
looked for among the user's model folders, InsightFace's packs are where the user added them
(faces.shelf), anything else is a folder. `name:recogniser` picks
another recogniser of the pack, e.g. `standin:b`.

**Notation**
    digest      "sha256:<hex>" over everything that changes a face vector: the files' bytes, the
                settings of detector and chosen recogniser, and READER_VERSION (raised by hand when
                the code around them changes meaning)
    template_px five points of the aligned face   float (5, 2), px of a square of size_px, order of
                                                  faces.records
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vultus.core.errors import PackError, SpecError
from vultus.core.files import write_text
from vultus.core.keys import canonical, content_id, file_content_id
from vultus.core.registry import nearest
from vultus.core.specs import dumps, load
from vultus.faces.pack_spec import (
    DETECTOR_KINDS,
    DetectorSpec,
    LimitSpec,
    PackSpec,
    PoseSpec,
    QualitySpec,
    RecogniserSpec,
)
from vultus.faces.shelf import has_accepted, model_folders, read_shelf

__all__ = [
    "CATALOGUE",
    "DETECTOR_KINDS",
    "READER_VERSION",
    "DetectorSpec",
    "LimitSpec",
    "Pack",
    "PackSpec",
    "PoseSpec",
    "QualitySpec",
    "RecogniserSpec",
    "catalogue",
    "find_pack",
    "load_pack",
    "model_folders",
    "pack_of_files",
    "read_spec",
    "write_pack",
]

READER_VERSION: Final = 2
CATALOGUE: Final = Path(__file__).parent / "catalogue"
_PACKAGED: Final = {"standin": ("vultus", "standin/weights/pack")}


@dataclass(frozen=True)
class Pack:
    """A checked pack with one recogniser chosen. Only its `digest` says whether two scores may
    meet."""

    spec: PackSpec
    folder: Path
    recogniser_name: str
    digest: str

    @property
    def name(self) -> str:
        """`standin`, or `standin:b` when the chosen recogniser is not the pack's judge."""
        chosen = self.recogniser_name
        return self.spec.name if chosen == self.spec.judge else f"{self.spec.name}:{chosen}"

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.spec.licence

    @property
    def detector(self) -> DetectorSpec:
        """How faces are found."""
        return self.spec.detector

    @property
    def recogniser(self) -> RecogniserSpec:
        """How faces are measured."""
        return self.spec.recognisers[self.recogniser_name]

    @property
    def limits(self) -> LimitSpec:
        """From where on a face is readable."""
        return self.spec.limits

    def file(self, name: str) -> Path:
        """The path of one of the pack's files."""
        return self.folder / name

    def choose(self, recogniser: str) -> Pack:
        """The same pack with another of its recognisers; its digest is another one."""
        if recogniser not in self.spec.recognisers:
            raise PackError(
                f"pack {self.spec.name} has no recogniser {recogniser!r}",
                where=str(self.folder),
                expected=f"one of {', '.join(self.spec.recognisers)}",
            )
        digest = _digest(self.spec, self.folder, recogniser)
        return replace(self, recogniser_name=recogniser, digest=digest)


def load_pack(
    folder: Path, *, description: Path | None = None, sums: Mapping[str, str] | None = None
) -> Pack:
    """Reads and checks a pack. Every file must be there and have the sha256 that pack.toml names.

    `description` is a pack.toml that lies elsewhere (the catalogue's, for folders that hold
    weights only); `sums` are sha256 known from elsewhere (the day a pack was added).
    """
    toml = description or folder / "pack.toml"
    if not toml.is_file():
        raise PackError(
            "there is no pack.toml" if folder.is_dir() else "there is no such folder",
            where=str(folder),
            expected="the folder of a face pack",
            next_command="vultus models list",
        )
    spec = read_spec(toml)
    missing = [name for name in spec.files() if not (folder / name).is_file()]
    if missing:
        raise PackError(
            f"pack {spec.name} lacks {', '.join(missing)}",
            where=str(folder),
            expected="every file that pack.toml names",
            next_command="vultus models list",
        )
    for name, named in spec.files().items():
        found = file_content_id(folder / name).removeprefix("sha256:")
        for wanted in (named, (sums or {}).get(name, "")):
            if wanted and found != wanted.lower():
                raise PackError(
                    f"{name} is not the file of pack {spec.name} (sha256 {found[:12]}…)",
                    where=str(folder / name),
                    expected=f"sha256 {wanted[:12]}…",
                    next_command="fetch or copy the file again",
                )
    return Pack(spec, folder, spec.judge, _digest(spec, folder, spec.judge))


def read_spec(toml: Path) -> PackSpec:
    """A pack.toml without its files. Raises PackError with all its faults."""
    try:
        return load(PackSpec, toml)
    except SpecError as fault:
        raise PackError(
            "; ".join(f.line() for f in fault.faults),
            where=str(toml),
            expected="a pack.toml without faults",
        ) from fault


def catalogue() -> dict[str, Path]:
    """The packs that are described by name, whether their files are here or not."""
    return {path.stem: path for path in sorted(CATALOGUE.glob("*.toml"))}


def write_pack(folder: Path, spec: PackSpec) -> Pack:
    """Writes pack.toml for files that already lie in the folder, with their sha256, and loads it.

    For builders of packs: the stand-in world's, and tests.
    """

    def sum_of(file: str) -> str:
        return file_content_id(folder / file).removeprefix("sha256:") if file else ""

    recognisers = {
        name: replace(recogniser, sha256=sum_of(recogniser.file))
        for name, recogniser in spec.recognisers.items()
    }
    detector = replace(spec.detector, sha256=sum_of(spec.detector.file))
    whole = replace(spec, detector=detector, recognisers=recognisers)
    write_text(folder / "pack.toml", dumps(whole, comments=True))
    return load_pack(folder)


def find_pack(name: str | Path, *, folder: Path | None = None) -> Pack:
    """A pack by name (`standin`, `free`, with `:recogniser`) or by folder.

    `folder` is where a catalogue pack's weights lie; without it `model_folders()` are searched.
    """
    text, _, recogniser = str(name).partition(":") if isinstance(name, str) else (str(name), "", "")
    pack = _find(text, folder)
    return pack.choose(recogniser) if recogniser else pack


def _find(name: str, folder: Path | None) -> Pack:
    if name in _PACKAGED:
        return load_pack(_package_folder(*_PACKAGED[name]))
    if name in catalogue():
        return _from_catalogue(name, folder)
    place = Path(name)
    if place.is_dir():
        # A folder of weights as InsightFace unpacks it says what it is by its files.
        known = None if (place / "pack.toml").is_file() else pack_of_files(place)
        return load_pack(place) if known is None else _from_catalogue(*known)
    named = (*_PACKAGED, *catalogue())
    close = nearest(name, named)
    raise PackError(
        f"there is no face pack {name!r}" + (f" (did you mean {close!r}?)" if close else ""),
        expected=f"one of {', '.join(named)}, or the folder of a pack",
        next_command="vultus models list",
    )


def pack_of_files(folder: Path) -> tuple[str, Path] | None:
    """Which pack of the catalogue has all its files in this folder (or one below, as archives that
    unpack into themselves leave it), and where."""
    below = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    for place in (folder, *below):
        for name, toml in catalogue().items():
            if all((place / file).is_file() for file in read_spec(toml).files()):
                return name, place
    return None


def _from_catalogue(name: str, folder: Path | None) -> Pack:
    placed = read_shelf().placed.get(name)
    if placed is not None and folder in (None, placed.folder):
        return _agreed(load_pack(placed.folder, description=catalogue()[name], sums=placed.sums))
    searched = (folder,) if folder else model_folders()
    tried: list[PackError] = []
    for place in searched:
        for candidate in (place / name, place):
            if candidate.is_dir():
                try:
                    return _agreed(load_pack(candidate, description=catalogue()[name]))
                except PackError as fault:
                    tried.append(fault)
    telling = ("is not the file of", "not been agreed")
    for refused in tried:
        if any(words in refused.what for words in telling):
            raise refused
    spec = read_spec(catalogue()[name])
    get = f"vultus models fetch {name}" if spec.sources else f"vultus models add {name} FOLDER"
    raise PackError(
        f"the files of face pack {name!r} were not found in {', '.join(str(p) for p in searched)}",
        expected="; ".join(refused.what for refused in tried) or "a folder with the pack's files",
        next_command=f"{get}, or set VULTUS_MODELS to the folder that holds them",
    )


def _agreed(pack: Pack) -> Pack:
    """The pack, or a fault that shows its terms where they were not agreed to yet."""
    if not has_accepted(pack.spec):
        raise PackError(
            f"the terms of face pack {pack.spec.name!r} have not been agreed to: {pack.spec.terms}",
            where=str(pack.folder),
            expected=f"your agreement to its licence ({pack.licence}), asked once",
            next_command=f"vultus models add {pack.spec.name} {pack.folder}",
        )
    return pack


def _package_folder(package: str, inside: str) -> Path:
    """A folder of package data, found without importing the package."""
    found = importlib.util.find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        if (Path(place) / inside / "pack.toml").is_file():
            return Path(place) / inside
    raise PackError(
        f"the {inside} folder is not part of this installation",
        expected="an installation with the stand-in world's weights",
        next_command="vultus doctor",
    )


def _digest(spec: PackSpec, folder: Path, recogniser: str) -> str:
    chosen = spec.recognisers[recogniser]
    # Quality and pose do not move a vector, but the pose decides which faces are readable.
    used = (spec.detector.file, chosen.file, chosen.weights, *spec.pose.files)
    meaning = {
        "reader": READER_VERSION,
        "files": [file_content_id(folder / name) if name else "" for name in used],
        "detector": replace(spec.detector, file="", sha256=""),
        "recogniser": replace(chosen, file="", sha256="", weights="", weights_sha256=""),
        "limits": spec.limits,
    }
    return content_id(canonical(meaning).encode())
