"""Kind `render`: one cell x a batch of blocks becomes one PNG per block.

    inputs   renderer, base digest, lora (content id or ""), strength, spec, blocks [[prompt, seed]]
    files    base, and lora unless the strength is 0
    hints    device
    outputs  r000.png, r001.png, ... (PNG with XMP trainedAlgorithmicMedia), in the order of the blocks

Strength 0 has no LoRA in its key: it is the base alone, so all checkpoints of a base share those renders.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vultus.core import specs
from vultus.core.keys import canonical
from vultus.generation.records import RenderRequest, RenderSpec
from vultus.images.write import save_png
from vultus.steps.kinds.resident import renderer
from vultus.steps.table import Job


def work(job: Job) -> Mapping[str, Path]:
    """Render every block; the resident base stays loaded for the next order."""
    spec = specs.parse(RenderSpec, job.inputs["spec"], "render")
    held = renderer(
        str(job.inputs["renderer"]),
        job.files["base"],
        str(job.inputs["base"]),
        spec,
        job.hints,
    )
    strength = float(job.inputs["strength"])
    lora = job.files["lora"] if strength != 0.0 else None
    blocks = [(str(prompt), int(seed)) for prompt, seed in job.inputs["blocks"]]
    requests = [RenderRequest(prompt, seed, lora, strength) for prompt, seed in blocks]
    outputs: dict[str, Path] = {}
    for position, rgb in enumerate(held.render(requests)):
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
        save_png(path, rgb, {"vultus": canonical(made_with)})
        outputs[f"{name}.png"] = path
        job.advance(1)
    return outputs


__all__ = ["work"]
