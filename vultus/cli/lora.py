"""`vultus lora`: what a LoRA file holds, and how it is turned into another one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, noun, say, verb

__all__ = ["add"]

SHOWN = 5


def add(subparsers: Nouns) -> None:
    """Add `vultus lora` and its verbs."""
    parser = noun(
        subparsers,
        "lora",
        help="inspect, convert, merge and average LoRA files",
        examples=["vultus lora inspect ada.safetensors"],
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    inspecting = verb(
        verbs,
        "inspect",
        help="count modules by network and kind, with ranks, alphas and how strong they are; exit code 1 where"
        " numbers are not finite",
        examples=["vultus lora inspect ada.safetensors"],
    )
    inspecting.add_argument("path", type=Path, help="a LoRA with kohya's names")
    inspecting.set_defaults(handle=_inspect)
    _add_convert(verbs)
    merging = verb(
        verbs,
        "merge",
        help="add LoRAs up into one, each at a weight",
        examples=["vultus lora merge face.safetensors hair.safetensors --weights 1 0.5 -o both.safetensors"],
    )  # fmt: skip
    merging.add_argument(
        "--weights", type=float, nargs="+", help="how much each counts (default 1 each)"
    )
    averaging = verb(
        verbs,
        "average",
        help="average checkpoints of one training: their products, brought back to the rank",
        examples=["vultus lora average c-000400.safetensors c-000500.safetensors -o mean.safetensors"],
    )  # fmt: skip
    for one, handle in ((merging, _merge), (averaging, _average)):
        one.add_argument("paths", type=Path, nargs="+", help="LoRAs with kohya's names")
        one.add_argument("--out", "-o", type=Path, required=True, help="the file to write")
        one.add_argument(
            "--rank",
            type=int,
            help="largest rank of the result, 1 to 4096 (merge: all; average: the first's)",
        )
        _add_precision(one)
        one.set_defaults(handle=handle)


def _add_convert(verbs: Nouns) -> None:
    converting = verb(
        verbs,
        "convert",
        help="write a LoRA with other names, in another precision, or without its metadata",
        examples=["vultus lora convert ada.safetensors ada-diffusers.safetensors --to diffusers"],
    )
    converting.add_argument("path", type=Path, help="a LoRA with kohya's or peft's names")
    converting.add_argument("out", type=Path, help="the file to write")
    converting.add_argument(
        "--to",
        choices=("kohya", "diffusers"),
        default="kohya",
        help="whose names: kohya's (ComfyUI, A1111 and its family) or diffusers' (keeps a DoRA whole there)",
    )
    converting.add_argument(
        "--base",
        help="the base it was made for, where that is not SDXL's own shape: standin/<name>, a folder or a file",
    )
    converting.add_argument(
        "--private", action="store_true", help="keep only the metadata that loaders need"
    )
    _add_precision(converting)
    converting.set_defaults(handle=_convert)


def _add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=("fp16", "bf16", "fp32"), default="fp16", help="of the numbers"
    )


def _inspect(args: argparse.Namespace) -> int:
    from vultus.training.lora_tools import inspect_lora

    record = inspect_lora(args.path)
    lines = [
        f"{args.path}: {record['modules']} modules, {record['parameters']:,} numbers"
        + (", DoRA" if record["dora"] else "")
    ]
    lines += [
        f"  {g['network']:<6} {g['kind']:<8} {g['modules']:>4} modules  rank {g['ranks']}"
        f"  alpha {g['alphas']}  mean size of the change "
        f"{'unknown' if g['mean_norm'] is None else format(g['mean_norm'], '.4f')}"
        f"{'  (' + str(g['zero']) + ' exactly zero)' if g['zero'] else ''}"
        for g in record["groups"]
    ]
    bad = record["not_finite"]
    if bad:
        some = ", ".join(list(bad)[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
        lines.insert(
            1,
            f"  NOT FINITE: {sum(bad.values()):,} numbers in {len(bad)} of {record['modules']} modules ({some})",
        )
    shown = ("modelspec.", "ss_network_", "ss_base_", "ss_output")
    lines += [f"  {k} = {v}" for k, v in record["metadata"].items() if k.startswith(shown)]
    say(args, record, lines)
    return EXIT_NO if bad else EXIT_DONE


def _convert(args: argparse.Namespace) -> int:
    from vultus.studies.bases import locate_base
    from vultus.training.lora_tools import convert_lora

    base = None if args.base is None else locate_base(args.base, Path.cwd(), "--base")
    count = convert_lora(
        args.path,
        args.out,
        to=args.to,
        precision=args.precision,
        private=args.private,
        base=base,
    )
    record = {"path": str(args.out), "tensors": count, "names": args.to}
    say(args, record, [f"{args.out}: {count} tensors with {args.to} names, {args.precision}"])
    return EXIT_DONE


def _merge(args: argparse.Namespace) -> int:
    return _sum(args, args.weights or [1.0] * len(args.paths), args.rank)


def _average(args: argparse.Namespace) -> int:
    return _sum(args, None, args.rank)


def _sum(args: argparse.Namespace, weights: list[float] | None, rank: int | None) -> int:
    from vultus.training.lora_tools import sum_loras

    record: dict[str, Any] = sum_loras(
        args.paths, args.out, weights=weights, rank=rank, precision=args.precision
    )
    lines = [
        f"{args.out}: {record['modules']} modules of {len(args.paths)} files,"
        f" at most {100 * record['lost']:.2g} % of a module's energy lost to the rank"
    ]
    say(args, record, lines)
    return EXIT_DONE
