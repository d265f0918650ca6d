"""Strengths that come next are rendered with the present ones: each picture once, and the same as alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vultus.core.seeds import seed_of
from vultus.generation.records import RenderRequest, RenderSpec, Rgb
from vultus.images.load import load_picture
from vultus.steps.kinds import resident
from vultus.steps.kinds.render import work
from vultus.steps.table import Job

SPEC = RenderSpec(width_px=64, height_px=64)
BLOCKS = [["a", 1], ["b", 2], ["c", 3]]


class Counting:
    """Draws one colour per request and remembers what it was asked in one go."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.asked: list[list[tuple[str, float]]] = []

    def render(self, requests: Sequence[RenderRequest], progress: object = None) -> Iterator[Rgb]:
        self.asked.append([(one.prompt, one.strength) for one in requests])
        for one in requests:
            tone = seed_of("colour", one.prompt, one.seed, f"{one.strength:g}") % 256
            yield np.full((64, 64, 3), tone, np.uint8)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    counting = Counting(batch=8)
    resident.release()
    monkeypatch.setattr(resident, "_open", lambda *_: counting)
    yield counting
    resident.release()


def asked(scratch: Path, strength: float, ahead: Sequence[float] = (), lora: str = "x") -> Job:
    inputs: dict[str, Any] = {
        "renderer": "fake",
        "base": "sha256:b",
        "lora": lora,
        "strength": strength,
        "spec": asdict(SPEC),
        "blocks": BLOCKS,
    }
    files = {"base": scratch, "lora": scratch / "lora"}
    scratch.mkdir(parents=True, exist_ok=True)
    return Job("render", inputs, files, scratch, {"ahead": list(ahead)})


def tones(job: Job) -> list[int]:
    return [int(load_picture(path).rgb[0, 0, 0]) for _, path in sorted(work(job).items())]


def test_what_fits_is_rendered_ahead_and_never_twice(held: Counting, tmp_path: Path) -> None:
    first = tones(asked(tmp_path / "1", 0.4, ahead=(0.7, 1.0)))
    second = tones(asked(tmp_path / "2", 0.7, ahead=(1.0,)))
    third = tones(asked(tmp_path / "3", 1.0))
    # 8 pictures at a time: three of 0.4 and three of 0.7; 1.0 does not fit any more
    assert [len(one) for one in held.asked] == [6, 3]
    assert sorted(s for one in held.asked for _, s in one) == [0.4] * 3 + [0.7] * 3 + [1.0] * 3
    resident.release()
    alone = [tones(asked(tmp_path / f"a{s}", s)) for s in (0.4, 0.7, 1.0)]
    assert [first, second, third] == alone


def test_pictures_of_another_question_are_not_taken(held: Counting, tmp_path: Path) -> None:
    tones(asked(tmp_path / "1", 0.4, ahead=(0.7,)))
    tones(asked(tmp_path / "2", 0.7, lora="y"))
    assert [len(one) for one in held.asked] == [6, 3], "another LoRA is rendered for itself"
    tones(asked(tmp_path / "3", 0.7))
    assert len(held.asked) == 3, "what was made ahead was let go of"


def test_a_full_batch_takes_nobody_along(held: Counting, tmp_path: Path) -> None:
    held.batch = 5
    tones(asked(tmp_path / "1", 0.4, ahead=(0.7, 1.0)))
    assert [len(one) for one in held.asked] == [3]
