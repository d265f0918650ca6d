"""The exam of renderers: `check_renderer(open_one, lora)` asserts what `generation.records.Renderer` promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vultus.core.errors import VultusError
from vultus.generation.records import Renderer, RenderRequest, RenderSpec, Rgb


def check_renderer(
    open_one: Callable[[RenderSpec], Renderer],
    lora: Path,
    *,
    prompts: Sequence[str] = ("photo of woman", "photo of woman, smiling"),
    spec: RenderSpec | None = None,
) -> None:
    """Open a renderer and assert: order, determinism, strength 0 is the base, a LoRA leaves no trace, close closes."""
    wanted = spec or RenderSpec(steps=2, width_px=64, height_px=64)
    renderer = open_one(wanted)
    mixed = [
        RenderRequest(prompts[0], 1, lora, 1.0),
        RenderRequest(prompts[1], 2),
        RenderRequest(prompts[0], 1),
        RenderRequest(prompts[0], 1, lora, 0.0),
        RenderRequest(prompts[0], 3),
    ]
    counted = _Counter()
    together = list(renderer.render(mixed, counted))
    assert counted.done == len(mixed), f"progress told of {counted.done} of {len(mixed)} renders"
    _check_pictures(together, wanted)
    with_lora, other, alone, at_zero, other_seed = together
    assert np.array_equal(alone, at_zero), "strength 0 is not the base"
    assert not np.array_equal(alone, with_lora), "the LoRA changes nothing"
    assert not np.array_equal(alone, other), "the prompt changes nothing"
    assert not np.array_equal(alone, other_seed), "the seed changes nothing"

    (again,) = renderer.render(mixed[:1])
    assert _close(again, with_lora), "a render depends on its neighbours"
    (after,) = renderer.render(mixed[2:3])
    assert _close(after, alone), "the LoRA left a trace in the base"

    renderer.close()
    try:
        list(renderer.render(mixed[:1]))
    except VultusError:
        return
    raise AssertionError("a closed renderer still renders")


def _check_pictures(pictures: Sequence[Rgb], spec: RenderSpec) -> None:
    assert len(pictures) == 5
    for rgb in pictures:
        assert rgb.dtype == np.uint8
        assert rgb.shape == (spec.height_px, spec.width_px, 3)


def _close(a: Rgb, b: Rgb) -> bool:
    """Equal up to two levels: batches of other sizes sum in another order."""
    return int(np.abs(a.astype(np.int16) - b.astype(np.int16)).max()) <= 2


class _Counter:
    def __init__(self) -> None:
        self.done = 0.0

    def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
        self.done += n


__all__ = ["check_renderer"]
