"""`vultus render`: pictures from a base and a LoRA, without a workspace."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.cli.wording import EXIT_DONE, Nouns, detachable, noun, say

if TYPE_CHECKING:
    from vultus.generation.records import RenderSpec
    from vultus.steps.orders import Do, Done, Order
    from vultus.studies.bases import Base

__all__ = ["add"]


def add(subparsers: Nouns) -> None:
    """Add `vultus render`."""
    parser = noun(
        subparsers,
        "render",
        help="render prompts with a base and a LoRA at some strengths, into a folder",
        examples=[
            'vultus render --base standin/plain --prompt "close-up photo of woman, smiling" --out pictures/',
            "vultus render --base base.safetensors --lora ada.safetensors --strength 0.7 1.0 --seed 1 2"
            ' --prompt "ohwx woman" --width 1024 --height 1024 --out pictures/',
        ],
    )
    parser.add_argument(
        "--base", required=True, help="standin/<name>, a folder or one .safetensors"
    )
    parser.add_argument("--lora", type=Path, help="LoRA file; without it the base alone renders")
    parser.add_argument("--strength", type=float, nargs="+", default=[1.0], help="of the LoRA")
    parser.add_argument(
        "--prompt", action="append", required=True, help="may be given more than once"
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="of the starting noise")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--steps", type=int, default=16, help="denoising steps")
    parser.add_argument("--guidance", type=float, default=5.0, help="classifier-free guidance")
    parser.add_argument("--width", type=int, default=128, help="pixels (SDXL: 1024)")
    parser.add_argument("--height", type=int, default=128, help="pixels (SDXL: 1024)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    detachable(parser)
    parser.set_defaults(handle=_handle)


def _handle(args: argparse.Namespace) -> int:
    from vultus.core.files import write_bytes
    from vultus.core.keys import file_content_id
    from vultus.core.progress import Progress
    from vultus.core.weights import require_lora
    from vultus.jobs.foreground import on_card
    from vultus.steps.executors import Executor, open_executor
    from vultus.steps.orders import Task
    from vultus.store.ledger import Ledger
    from vultus.studies.bases import find_base, threads_for

    _refuse_odd(args)
    memory = args.out / ".vultus"
    base = find_base(args.base, Path.cwd(), memory, "--base")
    content = ""
    if args.lora is not None:
        require_lora(args.lora)
        content = file_content_id(args.lora)
    blocks = [(prompt, seed) for prompt in args.prompt for seed in args.seed]
    # strengths of one text would be one file
    strengths = list({f"{one:g}": one for one in args.strength}.values()) if content else [0.0]
    written = []
    total = len(strengths) * len(blocks)
    orders = [_order(args, base, content, strength, blocks) for strength in strengths]
    with Ledger.open(memory) as ledger:
        remembered = all(ledger.outputs(order.step.key) is not None for order in orders)
    with (
        nullcontext() if remembered else on_card(args.device, "vultus render"),
        Progress(total, "rendering", "pictures", quiet=args.json) as progress,
    ):
        # A worker, as in a run: its threads are settled before torch is there, and Ctrl-C ends it at once.
        threads = threads_for([base])
        pool = open_executor(Executor("local", 1), memory, 1, progress, threads=threads)
        try:
            for strength, order in zip(strengths, orders, strict=True):
                done = pool.run([Task(_one(order))])[0]
                for number, name in enumerate(sorted(done.files)):
                    seed = blocks[number][1]
                    path = args.out / f"p{number // len(args.seed):02d}-s{seed}-x{strength:g}.png"
                    write_bytes(path, done.files[name].read_bytes())
                    written.append(path)
        finally:
            pool.close()
    say(args, {"files": [str(path) for path in written]}, [str(path) for path in written])
    return EXIT_DONE


def _refuse_odd(args: argparse.Namespace) -> None:
    """Raise SpecError with every number that no renderer takes."""
    from vultus.core.errors import Fault, SpecError
    from vultus.core.specs import parse
    from vultus.generation.records import SEED_MAX, RenderSpec

    where = "vultus render"
    faults = [
        Fault(where, f"--strength {one:g}", "a finite number")
        for one in args.strength
        if not math.isfinite(one)
    ]
    faults += [
        Fault(where, f"--seed {one}", f"0 to {SEED_MAX}")
        for one in args.seed
        if not 0 <= one <= SEED_MAX
    ]
    try:
        parse(RenderSpec, asdict(_spec(args)), where)
    except SpecError as fault:
        faults += fault.faults
    if faults:
        raise SpecError(faults)


def _spec(args: argparse.Namespace) -> RenderSpec:
    from vultus.generation.records import RenderSpec

    size = {"width_px": args.width, "height_px": args.height}
    return RenderSpec(steps=args.steps, guidance=args.guidance, **size)


def _order(
    args: argparse.Namespace,
    base: Base,
    content: str,
    strength: float,
    blocks: list[tuple[str, int]],
) -> Order:
    """The same step that a sweep would ask for, so that equal questions have equal keys."""
    from vultus.steps.orders import Order, step_of

    alone = strength == 0.0
    inputs = {
        "renderer": "diffusers",
        "base": base.digest,
        "lora": "" if alone else content,
        "strength": strength,
        "spec": asdict(_spec(args)),
        "blocks": [list(block) for block in blocks],
    }
    files = {"base": base.path} if alone else {"base": base.path, "lora": args.lora}
    return Order(step_of("render", inputs), files, {"device": args.device}, units=len(blocks))


def _one(order: Order) -> Callable[[Do], Done]:
    return lambda do: do(order)
