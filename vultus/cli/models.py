"""`vultus models`: which base models and face packs are here, how packs get here, what a file is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, Nouns, detachable, noun, say, verb
from vultus.core.errors import PackError, WeightsError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from vultus.faces.packs import PackSpec

__all__ = ["Model", "add", "found_models"]

MIB = 2**20


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
        help="show the base models and face packs that are here, fetch and check packs",
        examples=[
            "vultus models list",
            "vultus models fetch free",
            "vultus models add buffalo_l ~/.insightface/models/buffalo_l",
            "vultus models verify free",
            "vultus models check ada.safetensors",
        ],
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
    _add_fetching(verbs)
    _add_adding(verbs)
    verifying = verb(
        verbs,
        "verify",
        help="compare every file of a face pack with the sha256 it must have",
        examples=["vultus models verify free", "vultus models verify my_pack/"],
    )
    verifying.add_argument("pack", help="a pack by name, or its folder")
    verifying.set_defaults(handle=_verify)


def _add_fetching(verbs: Nouns) -> None:
    fetching = verb(
        verbs,
        "fetch",
        help="bring a face pack's files here, from their official addresses or from a folder",
        examples=["vultus models fetch free", "vultus models fetch free --from /mnt/usb"],
    )
    fetching.add_argument("pack", help="a pack of `vultus models list`")
    fetching.add_argument(
        "--from",
        dest="source",
        type=Path,
        help="take the files from this folder instead of the network (by content, not by name)",
    )
    fetching.add_argument("--to", type=Path, help="where they go (default: your model folder)")
    _add_agreement(fetching)
    detachable(fetching, card=False)
    fetching.set_defaults(handle=_fetch)


def _add_adding(verbs: Nouns) -> None:
    adding = verb(
        verbs,
        "add",
        help="use a face pack of yours from where it lies (InsightFace's packs: never fetched)",
        examples=["vultus models add antelopev2 ~/.insightface/models/antelopev2"],
    )
    adding.add_argument("pack", help="which pack of the catalogue it is")
    adding.add_argument("folder", type=Path, help="the folder that holds its files")
    _add_agreement(adding)
    adding.set_defaults(handle=_add_pack)


def _add_agreement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="agree to the pack's licence and terms without being asked (it is asked once)",
    )


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
    from vultus.faces.packs import catalogue, find_pack

    for name in ("standin", *catalogue()):
        bundled = name == "standin"
        try:
            pack = find_pack(name)
        except PackError as absence:
            altered = "were not found" not in absence.what
            text = absence.what if bundled or altered else f"not here; {_catalogued(name).licence}"
            yield Model("face pack", name, False, bundled, text, absence.next_command)
        else:
            digest = pack.digest.removeprefix("sha256:")[:12]
            text = f"{pack.licence}, digest {digest}"
            yield Model("face pack", name, True, bundled, text)


def _fetch(args: argparse.Namespace) -> int:
    from vultus.faces.fetch import fetch_pack, require_fetchable
    from vultus.faces.packs import find_pack
    from vultus.faces.shelf import data_folder, model_folders

    require_fetchable(args.pack, args.source)
    _agree(_catalogued(args.pack), args)
    target: Path = args.to or data_folder()
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        print(words, file=sys.stderr)

    folder = fetch_pack(args.pack, target, source=args.source, tell=tell)
    pack = find_pack(args.pack, folder=folder)
    record = {"pack": pack.name, "folder": str(folder), "digest": pack.digest, "files": told}
    lines = [f"{pack.name} is ready in {folder} ({pack.licence})"]
    if folder.resolve() not in [place.resolve() for place in model_folders()]:
        lines.append(f"next: export VULTUS_MODELS={folder.resolve()}")
    say(args, record, lines)
    return EXIT_DONE


def _add_pack(args: argparse.Namespace) -> int:
    from vultus.faces.fetch import add_pack
    from vultus.faces.packs import find_pack

    _agree(_catalogued(args.pack), args)
    folder = add_pack(args.pack, args.folder)
    pack = find_pack(args.pack)
    record = {"pack": pack.name, "folder": str(folder), "digest": pack.digest}
    say(args, record, [f"{pack.name} is used from {folder}. Licence: {pack.licence}"])
    return EXIT_DONE


def _verify(args: argparse.Namespace) -> int:
    from vultus.faces.fetch import check_files
    from vultus.faces.packs import find_pack

    pack = find_pack(args.pack)  # refuses altered and missing files, with the file's name
    states = check_files(pack.spec, pack.folder)
    unnamed = [state for state in states if state.state == "unnamed"]
    lines = [f"{state.state:<8} {state.name}  {state.sum[:12]}" for state in states]
    lines.append(
        f"{pack.name}: {len(states) - len(unnamed)} of {len(states)} files are vouched for"
    )
    if unnamed:
        lines.append(
            "the others have no published sum; an added pack is compared with its first day"
        )
    lines.append(f"digest {pack.digest}, licence {pack.licence}")
    record = {
        "pack": pack.name,
        "folder": str(pack.folder),
        "digest": pack.digest,
        "files": [asdict(state) for state in states],
    }
    say(args, record, lines)
    return EXIT_DONE


def _catalogued(name: str) -> PackSpec:
    from vultus.faces.packs import catalogue, read_spec

    if name not in catalogue():
        raise PackError(
            f"there is no face pack {name!r} in the catalogue",
            expected=f"one of {', '.join(catalogue())}",
            next_command="vultus models list",
        )
    return read_spec(catalogue()[name])


def _agree(spec: PackSpec, args: argparse.Namespace) -> None:
    """Shows licence and terms; where agreement is needed, asks once and remembers it."""
    from vultus.faces.shelf import accept, has_accepted

    print(f"{spec.name}: {spec.licence}\n{spec.terms}", file=sys.stderr)
    if has_accepted(spec):
        return
    if not args.accept_licence:
        answer = ""
        if sys.stdin.isatty():
            print("Do you agree? Type yes: ", end="", file=sys.stderr, flush=True)
            answer = sys.stdin.readline().strip().lower()
        if answer != "yes":
            raise PackError(
                f"pack {spec.name} is not used without your agreement to its licence",
                expected="yes, or --accept-licence where nobody can be asked",
                next_command="read the terms above, then give the same command with --accept-licence",
            )
    accept(spec)


def _size_bytes(entry: Traversable) -> int:
    """Return the bytes of all files below a folder of the package."""
    if entry.is_file():
        return Path(str(entry)).stat().st_size
    return sum(_size_bytes(child) for child in entry.iterdir())
