"""What a worker keeps loaded between two orders: one renderer, and a face engine for each of two judges.

Loading a full-size base costs about half a minute, switching a LoRA on it a fraction of a second. One
renderer is kept, never two: two SDXL bases do not fit into 24 GB. A process has one worker thread, so nothing
here is locked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vultus.core.errors import PackError
from vultus.core.keys import canonical
from vultus.core.registry import Registry
from vultus.faces.engines import open_engine
from vultus.faces.packs import find_pack
from vultus.faces.records import FaceEngine
from vultus.generation.records import Renderer, RenderSpec, Rgb

OpenRenderer = Callable[[Path, RenderSpec, str], Renderer]
RENDERERS: Registry[OpenRenderer] = Registry("renderer")
RENDERERS.add(
    "diffusers",
    "vultus.generation.backends.diffusers_backend:open_renderer",
    help="diffusers in this process: folders and single files, LoRA switched without reloading",
)
RENDERERS.add(
    "comfyui",
    "vultus.generation.backends.comfyui:open_renderer",
    help="a running ComfyUI, asked over HTTP; it must see the base in its checkpoints folder",
)
RENDERERS.add(
    "fake",
    "vultus.generation.backends.fake:open_renderer",
    help="draws planted answers instead of pictures, for tests",
)


@dataclass
class _Resident:
    renderer: Renderer | None = None
    renderer_is: str = ""
    ahead_is: str = ""
    ahead: dict[float, list[Rgb]] = field(default_factory=dict)
    engines: OrderedDict[str, FaceEngine] = field(default_factory=OrderedDict)


_HELD = _Resident()
ENGINES_KEPT = 2
"""The judge and the second judge take turns on the same renders."""


def face_engine(name: str, digest: str) -> FaceEngine:
    """Return the face engine of a pack, loaded once; a pack that is not the one asked for is refused."""
    if digest in _HELD.engines:
        _HELD.engines.move_to_end(digest)
        return _HELD.engines[digest]
    pack = find_pack(name)
    if pack.digest != digest:
        raise PackError(
            f"face pack {name!r} changed while the run was under way",
            where=str(pack.folder),
            expected=digest,
            next_command="run the same command again",
        )
    while len(_HELD.engines) >= ENGINES_KEPT:
        _HELD.engines.popitem(last=False)
    return _HELD.engines.setdefault(digest, open_engine(pack))


def renderer(
    backend: str, base: Path, base_digest: str, spec: RenderSpec, hints: Mapping[str, Any]
) -> Renderer:
    """Return a renderer with this base resident; another base is let go first."""
    device = str(hints.get("device", "auto"))
    wanted = canonical([backend, base_digest, spec, device])
    if _HELD.renderer is not None and _HELD.renderer_is == wanted:
        return _HELD.renderer
    release()
    _HELD.renderer = _open(backend, base, spec, device)
    _HELD.renderer_is = wanted
    return _HELD.renderer


def ahead_of(question: str) -> dict[float, list[Rgb]]:
    """Pictures that were made ahead of their order, by strength; another question lets go of them."""
    if _HELD.ahead_is != question:
        _HELD.ahead_is, _HELD.ahead = question, {}
    return _HELD.ahead


def release() -> None:
    """Let go of the resident base, e.g. before a training wants the memory."""
    if _HELD.renderer is not None:
        _HELD.renderer.close()
    _HELD.renderer, _HELD.renderer_is = None, ""
    _HELD.ahead_is, _HELD.ahead = "", {}


def _open(backend: str, base: Path, spec: RenderSpec, device: str) -> Renderer:
    return RENDERERS.get(backend)(base, spec, device)


__all__ = ["RENDERERS", "ahead_of", "face_engine", "release", "renderer"]
