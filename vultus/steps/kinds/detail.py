"""Kind `detail`: the faces of renders drawn a second time, enlarged, with the same base and LoRA, and put back.

    inputs   renders (content ids), faces (key of their `read`), renderer, base digest, lora, strength, spec, denoise,
             blocks [[prompt, seed]]
    files    base, lora unless the strength is 0, r000, r001, ..., faces
    hints    device
    outputs  r000.png, r001.png, ..., in the order of the blocks; a render without a face stays as it is

`denoise` is the share of the way back to noise from which the crop is drawn: 0.3 sharpens, 0.6 draws another face.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import RenderError
from vultus.core.keys import canonical
from vultus.core.seeds import seed_of
from vultus.generation.detail import cut_window, face_window, paste_window
from vultus.generation.records import Redraw, Redrawer, RenderRequest, RenderSpec
from vultus.images.load import load_picture
from vultus.images.write import png_bytes
from vultus.steps.kinds.resident import renderer
from vultus.steps.table import Job


def work(job: Job) -> Mapping[str, Path]:
    """Draw every face again; the resident base is that of the renders."""
    spec = specs.parse(RenderSpec, job.inputs["spec"], "render")
    held = renderer(
        str(job.inputs["renderer"]), job.files["base"], str(job.inputs["base"]), spec, job.hints
    )
    if not isinstance(held, Redrawer):
        raise RenderError(
            f"the renderer {job.inputs['renderer']!r} cannot draw faces a second time",
            expected='renderer = "diffusers"',
            next_command="set [sweep] face_detail = [0.0] in vultus.toml",
        )
    strength, denoise = float(job.inputs["strength"]), float(job.inputs["denoise"])
    lora = job.files["lora"] if strength != 0.0 else None
    blocks = [(str(prompt), int(seed)) for prompt, seed in job.inputs["blocks"]]
    pictures = [load_picture(job.files[f"r{i:03d}"]).rgb for i in range(len(blocks))]
    places = json.loads(job.files["faces"].read_text(encoding="utf-8"))
    side = min(spec.width_px, spec.height_px)
    windows = {
        i: face_window(tuple(place["box_px"]), *place["size_px"])
        for i, place in enumerate(places)
        if place is not None
    }
    asked = [
        Redraw(
            RenderRequest(blocks[i][0], seed_of("face detail", blocks[i][1]), lora, strength),
            cut_window(pictures[i], window, side),
            denoise,
        )
        for i, window in windows.items()
    ]
    for (i, window), crop in zip(windows.items(), held.redraw(asked), strict=True):
        pictures[i] = paste_window(pictures[i], crop, window)
    outputs: dict[str, Path] = {}
    for i, rgb in enumerate(pictures):
        name = f"r{i:03d}.png"
        prompt, seed = blocks[i]
        made_with = {
            "prompt": prompt,
            "seed": str(seed),
            "base": str(job.inputs["base"]),
            "lora": str(job.inputs["lora"]),
            "strength": canonical(strength),
            "face_detail": canonical(denoise),
        }
        (job.scratch / name).write_bytes(png_bytes(rgb, {"vultus": canonical(made_with)}))
        outputs[name] = job.scratch / name
        job.advance(1)
    return outputs


__all__ = ["work"]
