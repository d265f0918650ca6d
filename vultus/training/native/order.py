"""Which pictures are in which batch: a pure function of the seed and the step.

Nothing has to be saved to resume in the middle of an epoch: step k always sees the same batch.

Notation
    bucket      pictures that are trained at one common size, as indices into the dataset
    epoch       one pass: every picture exactly once
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from vultus.core.seeds import stream

__all__ = ["BatchOrder", "bucket_size"]


def bucket_size(size: tuple[int, int], resolution_px: int, multiple_px: int) -> tuple[int, int]:
    """The (width, height) nearest in shape to `size`, of at most resolution_px squared pixels.

    Both sides are multiples of multiple_px; no picture is stretched, the rest is cropped evenly.
    """
    aspect = size[0] / size[1]
    most = max(resolution_px // multiple_px, 1) ** 2
    # shapes between 1:2 and 2:1, as SDXL was trained; the list is short (1024 px: 700 shapes)
    shapes = [
        (w, h) for w in range(1, most + 1) for h in range(-(-w // 2), min(2 * w, most // w) + 1)
    ]

    def fault(shape: tuple[int, int]) -> float:
        w, h = shape
        # a little off in shape (it is cropped) may buy many pixels: 5 % of one for 20 % of the other
        return abs(math.log(w / h / aspect)) + 0.25 * (1 - w * h / most)

    w, h = min(shapes, key=fault)
    return w * multiple_px, h * multiple_px


class BatchOrder:
    """The batches of a whole training. A batch never mixes sizes; the last of a bucket is short."""

    def __init__(self, buckets: Sequence[Sequence[int]], batch: int, seed: int) -> None:
        self._buckets = [tuple(bucket) for bucket in buckets if bucket]
        self._batch = batch
        self._seed = seed
        self.batches_per_epoch = sum(-(-len(bucket) // batch) for bucket in self._buckets)
        if not self.batches_per_epoch:
            raise ValueError("there is nothing to put in order")
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def at(self, step: int) -> tuple[int, ...]:
        """The pictures of step `step` (the first step is 0)."""
        epoch, place = divmod(step, self.batches_per_epoch)
        return self._epoch(epoch)[place]

    def epoch_of(self, step: int) -> int:
        return step // self.batches_per_epoch

    def _shuffled(self, epoch: int) -> tuple[tuple[int, ...], ...]:
        draw = stream("training", self._seed, "order", epoch)
        batches = []
        for bucket in self._buckets:
            shuffled = [bucket[i] for i in draw.permutation(len(bucket))]
            batches += [
                tuple(shuffled[i : i + self._batch]) for i in range(0, len(shuffled), self._batch)
            ]
        return tuple(batches[i] for i in draw.permutation(len(batches)))
