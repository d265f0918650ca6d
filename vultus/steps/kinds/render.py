"""Kind `render`: one cell x a batch of blocks becomes one PNG per block.

    inputs   renderer, base digest, lora (content id or ""), strength, spec, blocks [[prompt, seed]]
    files    base, and lora unless the strength is 0
    hints    device; ahead: strengths that this worker will be asked next for the same LoRA and blocks
    outputs  r000.png, r001.png, ... (PNG with XMP trainedAlgorithmicMedia), in the order of the blocks

Strength 0 has no LoRA in its key: it is the base alone, so all checkpoints of a base share those renders. A batch that
the blocks of one strength do not fill is filled with those of the strengths `ahead`; their pictures are kept in memory
until they are asked for. A render is the same whatever batch it ran in (to the last bit of a colour), so a worker that
was killed, or asked something else, has lost nothing but time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from vultus.core import specs
from vultus.core.keys import canonical
from vultus.generation.records import RenderRequest, RenderSpec, Rgb
from vultus.images.write import png_bytes
from vultus.steps.kinds.resident import ahead_of, renderer
from vultus.steps.table import Job


def work(job: Job) -> Mapping[str, Path]:
    """Render every block; the resident base stays loaded for the next order."""
    strength = float(job.inputs["strength"])
    blocks = [(str(prompt), int(seed)) for prompt, seed in job.inputs["blocks"]]
    outputs: dict[str, Path] = {}
    for position, rgb in enumerate(_pictures(job, strength, blocks)):
        name = f"r{position:03d}"
        prompt, seed = blocks[position]
        path = job.scratch / f"{name}.png"
        made_with = {
            "prompt": prompt,
            "seed": str(seed),
            "base": str(job.inputs["base"]),
            "lora": str(job.inputs["lora"]),
            "strength": canonical(strength),
        }
        # Not flushed here: the ledger flushes all outputs of a step together when it takes them over.
        path.write_bytes(png_bytes(rgb, {"vultus": canonical(made_with)}))
        outputs[f"{name}.png"] = path
        job.advance(1)
    return outputs


def _pictures(job: Job, strength: float, blocks: list[tuple[str, int]]) -> Iterator[Rgb]:
    """The pictures of this order: made ahead of it, or now, and then others ahead of theirs."""
    spec = specs.parse(RenderSpec, job.inputs["spec"], "render")
    lora = job.files["lora"] if strength != 0.0 else None
    question = {name: value for name, value in job.inputs.items() if name != "strength"}
    held = renderer(
        str(job.inputs["renderer"]),
        job.files["base"],
        str(job.inputs["base"]),
        spec,
        job.hints,
    )
    ahead = ahead_of(canonical(question))
    if strength in ahead:
        yield from ahead.pop(strength)
        return
    room = (getattr(held, "batch", 1) - len(blocks)) // max(1, len(blocks))
    others = [float(one) for one in job.hints.get("ahead", ()) if float(one) not in (strength, 0.0)]
    more = others[: max(0, room)] if lora is not None else []
    requests = [
        RenderRequest(prompt, seed, lora, each)
        for each in (strength, *more)
        for prompt, seed in blocks
    ]
    made = held.render(requests)
    for _ in blocks:
        yield next(made)
    for each in more:
        ahead[each] = [next(made) for _ in blocks]


__all__ = ["work"]
