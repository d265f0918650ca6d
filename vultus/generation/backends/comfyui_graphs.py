"""Workflow graphs: what ComfyUI is asked to do, as {node id: {class_type, inputs}}. Pure.

    checkpoint -> [LoRA] -> prompt, negative -> sampler -> VAE -> picture under a name of ours
                         -> [InstantID: reference face -> conditioning and model]

A link is [node id, number of the output]. Names of nodes and inputs are of v0.3.64; those of
InstantID are cubiq/ComfyUI_InstantID's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vultus.generation.records import RenderSpec

__all__ = ["FOLDER", "SAMPLERS", "Graph", "InstantId", "prompt_id_of", "sdxl_graph"]

Graph = dict[str, dict[str, Any]]

SAMPLERS = {
    "ddim": ("ddim", "ddim_uniform"),
    "euler": ("euler", "normal"),
    "dpmpp_2m_karras": ("dpmpp_2m", "karras"),
}
"""our scheduler -> (sampler_name, scheduler) of KSampler"""

FOLDER = "vultus"


@dataclass(frozen=True)
class InstantId:
    """A reference face that steers the identity: the name of an uploaded picture, and how much."""

    image: str
    model: str
    control_net: str
    weight: float = 0.8


def sdxl_graph(
    spec: RenderSpec,
    checkpoint: str,
    prompt: str,
    seed: int,
    *,
    lora: str = "",
    strength: float = 0.0,
    instantid: InstantId | None = None,
    mark: str = "",
) -> Graph:
    """Return the graph of one render; without a LoRA, or at strength 0, it is the base itself.

    `mark` stands for what the names do not say, e.g. which file a checkpoint's name means today.
    """
    sampler, scheduler = SAMPLERS[spec.scheduler]
    model, clip = ["base", 0], ["base", 1]
    graph: Graph = {"base": _node("CheckpointLoaderSimple", ckpt_name=checkpoint)}
    if lora and strength != 0.0:
        graph["lora"] = _node(
            "LoraLoader",
            model=model,
            clip=clip,
            lora_name=lora,
            strength_model=strength,
            strength_clip=strength,
        )
        model, clip = ["lora", 0], ["lora", 1]
    graph["prompt"] = _node("CLIPTextEncode", text=prompt, clip=clip)
    if spec.negative:
        graph["negative"] = _node("CLIPTextEncode", text=spec.negative, clip=clip)
    else:
        # SDXL was trained with zeros for "no prompt"; an encoded "" is something else
        graph["negative"] = _node("ConditioningZeroOut", conditioning=["prompt", 0])
    positive, negative = ["prompt", 0], ["negative", 0]
    if instantid is not None:
        graph |= _instantid_nodes(instantid, model)
        model, positive, negative = ["identity", 0], ["identity", 1], ["identity", 2]
    graph["latent"] = _node(
        "EmptyLatentImage", width=spec.width_px, height=spec.height_px, batch_size=1
    )
    graph["sampler"] = _node(
        "KSampler",
        model=model,
        seed=seed,
        steps=spec.steps,
        cfg=spec.guidance,
        sampler_name=sampler,
        scheduler=scheduler,
        positive=positive,
        negative=negative,
        latent_image=["latent", 0],
        denoise=1.0,
    )
    graph["decode"] = _node("VAEDecode", samples=["sampler", 0], vae=["base", 2])
    graph["picture"] = _node("SaveImage", images=["decode", 0], filename_prefix="")
    # The file carries the name of the request. An identical prompt would otherwise be answered
    # from the cache with an older file, and after a crash nobody could tell whether it was made.
    graph["picture"]["inputs"]["filename_prefix"] = f"{FOLDER}/{prompt_id_of(graph, mark)}"
    return graph


def prompt_id_of(graph: Graph, mark: str = "") -> str:
    """Return the id of a request: the same graph (and `mark`) has the same id, after a crash too."""
    from vultus.core.keys import canonical, content_id

    nodes = {name: row for name, row in graph.items() if name != "picture"}
    digest = content_id(canonical([nodes, mark]).encode()).removeprefix("sha256:")
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _instantid_nodes(face: InstantId, model: list[Any]) -> Graph:
    return {
        "face": _node("LoadImage", image=face.image),
        "adapter": _node("InstantIDModelLoader", instantid_file=face.model),
        "analysis": _node("InstantIDFaceAnalysis", provider="CPU"),
        "control": _node("ControlNetLoader", control_net_name=face.control_net),
        "identity": _node(
            "ApplyInstantID",
            instantid=["adapter", 0],
            insightface=["analysis", 0],
            control_net=["control", 0],
            image=["face", 0],
            model=model,
            positive=["prompt", 0],
            negative=["negative", 0],
            weight=face.weight,
            start_at=0.0,
            end_at=1.0,
        ),
    }


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
