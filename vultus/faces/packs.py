"""Face packs are data: a folder with `pack.toml` says how faces are found, turned and measured.

A pack names a detector and one or more recognisers with everything their numbers depend on (colour
order, scale, template, flip averaging), its licence and the sha256 of each file. One code path
(faces.engines) runs them all. Packs are found by name: `standin` comes with the package, `free` is
looked for among the user's model folders, anything else is a folder. `name:recogniser` picks
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
import os
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
    "find_pack",
    "load_pack",
    "model_folders",
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


def load_pack(folder: Path, *, description: Path | None = None) -> Pack:
    """Reads and checks a pack. Every file must be there and have the sha256 that pack.toml names.

    `description` is a pack.toml that lies elsewhere (the catalogue's, for folders that hold
    weights only).
    """
    toml = description or folder / "pack.toml"
    if not toml.is_file():
        raise PackError(
            "there is no pack.toml" if folder.is_dir() else "there is no such folder",
            where=str(folder),
            expected="the folder of a face pack",
            next_command="vultus models list",
        )
    try:
        spec = load(PackSpec, toml)
    except SpecError as fault:
        raise PackError(
            "; ".join(f.line() for f in fault.faults),
            where=str(toml),
            expected="a pack.toml without faults",
        ) from fault
    missing = [name for name in spec.files() if not (folder / name).is_file()]
    if missing:
        raise PackError(
            f"pack {spec.name} lacks {', '.join(missing)}",
            where=str(folder),
            expected="every file that pack.toml names",
            next_command="vultus models list",
        )
    for name, wanted in spec.files().items():
        found = file_content_id(folder / name).removeprefix("sha256:")
        if wanted and found != wanted.lower():
            raise PackError(
                f"{name} is not the file of pack {spec.name} (sha256 {found[:12]}…)",
                where=str(folder / name),
                expected=f"sha256 {wanted[:12]}…",
                next_command="fetch or copy the file again",
            )
    return Pack(spec, folder, spec.judge, _digest(spec, folder, spec.judge))


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


def model_folders() -> tuple[Path, ...]:
    """Where model files are looked for: $VULTUS_MODELS, the user's data folder, `../shared/models`
    of a checkout."""
    named = [Path(p) for p in os.environ.get("VULTUS_MODELS", "").split(os.pathsep) if p]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    shared = os.environ.get("VULTUS_SHARED")
    beside = Path(shared) if shared else Path(__file__).resolve().parents[3] / "shared"
    return (*named, data / "vultus" / "models", beside / "models")


def _find(name: str, folder: Path | None) -> Pack:
    if name in _PACKAGED:
        return load_pack(_package_folder(*_PACKAGED[name]))
    catalogued = {path.stem: path for path in sorted(CATALOGUE.glob("*.toml"))}
    if name not in catalogued:
        if Path(name).is_dir():
            return load_pack(Path(name))
        known = (*_PACKAGED, *catalogued)
        close = nearest(name, known)
        raise PackError(
            f"there is no face pack {name!r}" + (f" (did you mean {close!r}?)" if close else ""),
            expected=f"one of {', '.join(known)}, or the folder of a pack",
            next_command="vultus models list",
        )
    searched = (folder,) if folder else model_folders()
    tried: list[PackError] = []
    for place in searched:
        for candidate in (place / name, place):
            if candidate.is_dir():
                try:
                    return load_pack(candidate, description=catalogued[name])
                except PackError as fault:
                    tried.append(fault)
    if tried and any("is not the file of" in fault.what for fault in tried):
        raise next(fault for fault in tried if "is not the file of" in fault.what)
    raise PackError(
        f"the files of face pack {name!r} were not found in {', '.join(str(p) for p in searched)}",
        expected="; ".join(fault.what for fault in tried) or "a folder with the pack's files",
        next_command="set VULTUS_MODELS to the folder that holds them",
    )


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
