"""What the stand-in's bases draw: latent round trips, and whether generated pictures obey their prompts.

Notation
    oracle logits   float32 (n, 6): framing (3), hat, glasses, dye; see vultus.standin.build.oracle
    obeys           the oracle's answer equals what the prompt asked for
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

import vultus.standin
from vultus.core.seeds import seed_of, stream
from vultus.faces.records import FaceEngine
from vultus.generation.backends.diffusers_backend import open_renderer
from vultus.generation.records import RenderRequest, RenderSpec
from vultus.standin.nuisance import FRAMINGS, caption, sample_nuisance

__all__ = ["WEIGHTS", "obedience", "oracle_scene", "through_latents"]

Rgb = npt.NDArray[np.uint8]
WEIGHTS = Path(vultus.standin.__file__).parent / "weights"


def through_latents(rgbs: list[Rgb]) -> list[Rgb]:
    """Encode and decode pictures with the stand-in's autoencoder."""
    import torch
    from diffusers import AutoencoderTiny

    vae = AutoencoderTiny.from_pretrained(
        WEIGHTS / "bases" / "plain" / "vae", local_files_only=True
    ).eval()
    out: list[Rgb] = []
    for k in range(0, len(rgbs), 16):
        x = (
            torch.from_numpy(np.stack(rgbs[k : k + 16]))
            .permute(0, 3, 1, 2)
            .float()
            .div(127.5)
            .sub(1)
        )
        with torch.no_grad():
            y = vae.decode(vae.encode(x).latents).sample
        out += list(((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return out


def oracle_scene(rgbs: list[Rgb]) -> npt.NDArray[np.float32]:
    """The scene oracle's logits (n, 6)."""
    session = onnxruntime.InferenceSession(
        WEIGHTS / "oracle" / "scene.onnx", providers=["CPUExecutionProvider"]
    )
    small = np.stack([cv2.resize(r, (64, 64), interpolation=cv2.INTER_AREA) for r in rgbs])
    x = small.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    (logits,) = session.run(["logits"], {"small": x})
    return np.asarray(logits, np.float32)


def obedience(engine: FaceEngine, base: str, count: int) -> dict[str, Any]:
    """Render `count` prompts without a LoRA: faces found, framing and accessories as asked."""
    scenes = [
        sample_nuisance(stream("bench", "prompt", base, k), framing=FRAMINGS[k % 3])
        for k in range(count)
    ]
    renderer = open_renderer(WEIGHTS / "bases" / base, RenderSpec(guidance=4.0))
    requests = [
        RenderRequest(caption(s), seed_of("bench", base, k), None, 0.0)
        for k, s in enumerate(scenes)
    ]
    rgbs = list(renderer.render(requests))
    logits = oracle_scene(rgbs)
    framing = logits[:, :3].argmax(1) == np.arange(count) % 3
    worn = logits[:, 3:] > 0
    asked = np.array([[bool(s.hat), s.glasses, bool(s.dye)] for s in scenes])
    found = [r.face is not None for r in engine.read_many(rgbs)]
    return {
        "faces_found": float(np.mean(found)),
        "framing_obeyed": float(framing.mean()),
        "hat_obeyed": float((worn[:, 0] == asked[:, 0]).mean()),
        "glasses_obeyed": float((worn[:, 1] == asked[:, 1]).mean()),
        "dye_obeyed": float((worn[:, 2] == asked[:, 2]).mean()),
        "worn_when_asked": float(worn[asked].mean()) if asked.any() else float("nan"),
        "n": count,
    }
