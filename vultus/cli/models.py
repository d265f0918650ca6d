"""`vultus models`: which base models and face packs are here, and what a weight file really is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, Nouns, noun, say, verb
from vultus.core.errors import PackError, WeightsError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Model", "add", "found_models"]

MIB = 2**20

PACKS = ("standin", "free")
"""Face packs that have a name: the bundled one, and one of freely licensed networks."""


@dataclass(frozen=True)
class Model:
    """One base model or face pack, present or not."""

    kind: str
    name: str
    present: bool
    bundled: bool
    text: str
    next_command: str = ""


def add(subparsers: Nouns) -> None:
    """Add `vultus models` and its verbs."""
    parser = noun(
        subparsers,
        "models",
        help="show the base models and face packs that are here",
        examples=["vultus models list", "vultus models check ada.safetensors"],
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verb(verbs, "list", help="list base models and face packs, with size and licence")
    listing.set_defaults(handle=_list)
    checking = verb(
        verbs,
        "check",
        help="say what a weight file or folder is, from its header alone (nothing is loaded)",
        examples=["vultus models check ~/models/realvisxl.safetensors"],
    )
    checking.add_argument("path", type=Path, help="a .safetensors file or a diffusers folder")
    checking.set_defaults(handle=_check)


def found_models() -> list[Model]:
    """Return every base model and face pack that has a name, whether it is here or not."""
    return [*_bases(), *_packs()]


def _list(args: argparse.Namespace) -> int:
    models = found_models()
    lines = []
    for model in models:
        mark = "here " if model.present else "  -  "
        lines.append(f"{mark} {model.kind:<9} {model.name:<15} {model.text}")
        if model.next_command:
            lines.append(f"      next: {model.next_command}")
    lines.append("A base model of yours needs no name: write its path into vultus.toml.")
    say(args, {"models": [asdict(model) for model in models]}, lines)
    return EXIT_DONE


def _check(args: argparse.Namespace) -> int:
    from vultus.core.weights import require_base, require_lora

    path: Path = args.path
    try:
        header = None if path.is_dir() else require_lora(path)
    except WeightsError:
        header = None
    record: dict[str, Any] = {"path": str(path)}
    if header is None:
        # Not a LoRA: then it is a base, or the error that says what is wrong with it.
        record["kind"] = f"base model ({require_base(path)})"
        say(args, record, [f"{path}: a whole SDXL {record['kind']}"])
        return EXIT_DONE
    record["kind"] = "LoRA"
    record["tensors"] = len(header.tensors)
    record["alphas"] = sum(name.endswith(".alpha") for name in header.tensors)
    record["metadata"] = dict(header.metadata)
    lines = [f"{path}: a LoRA with {record['tensors']} tensors, {record['alphas']} of them alphas"]
    shown = [key for key in header.metadata if key.startswith(("modelspec.", "ss_network_"))]
    lines += [f"  {key} = {header.metadata[key]}" for key in sorted(shown)]
    say(args, record, lines)
    return EXIT_DONE


def _bases() -> Iterator[Model]:
    from importlib.resources import files

    # Package data is looked up by path: importing vultus.standin would load its renderer.
    folder = files("vultus").joinpath("standin", "weights", "bases")
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    names = [name for name in names if folder.joinpath(name, "model_index.json").is_file()]
    if not names:
        text = "the bundled weights are missing from this installation"
        yield Model("base", "standin/plain", False, True, text, "install vultus again")
    for name in names:
        size_mib = _size_bytes(folder.joinpath(name)) / MIB
        text = f"{size_mib:.1f} MiB, SDXL's shape in miniature, bundled, Apache-2.0"
        yield Model("base", f"standin/{name}", True, True, text)


def _packs() -> Iterator[Model]:
    from vultus.faces.packs import find_pack

    for name in PACKS:
        bundled = name == "standin"
        try:
            pack = find_pack(name)
        except PackError as absence:
            yield Model("face pack", name, False, bundled, absence.what, absence.next_command)
        else:
            text = f"{pack.licence}, digest {pack.digest.removeprefix('sha256:')[:12]}"
            yield Model("face pack", name, True, bundled, text)


def _size_bytes(entry: Traversable) -> int:
    """Return the bytes of all files below a folder of the package."""
    if entry.is_file():
        return Path(str(entry)).stat().st_size
    return sum(_size_bytes(child) for child in entry.iterdir())
