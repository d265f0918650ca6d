"""Cells and blocks: what is compared, and on what.

    cell     base x checkpoint x strength        strength 0 is the base alone: one cell per base, checkpoint 0
             x face detail                       0 = off: how far a second pass over the enlarged face goes
    block    one prompt with one seed            every cell renders the same blocks, so cells can be paired
The starting noise of a block depends on its prompt template and seed only: with and without the LoRA, with the
trigger or the class words, a block starts from the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vultus.core.seeds import seed_of

PERSONA_WORD = "{persona}"


@dataclass(frozen=True, order=True)
class Cell:
    """One base with one checkpoint at one strength, its faces drawn a second time or not."""

    base: str
    checkpoint: int
    strength: float
    detail: float = 0.0

    @property
    def words(self) -> str:
        """The cell in words, for people."""
        if self.strength == 0:
            return f"{self.base} alone"
        second = f", face detail {self.detail:g}" if self.detail else ""
        return f"{self.base}, step {self.checkpoint}, strength {self.strength:g}{second}"

    @property
    def place(self) -> str:
        """The base, and the face detail where there is one: what a heat map is drawn for."""
        return f"{self.base} + face detail {self.detail:g}" if self.detail else self.base


@dataclass(frozen=True)
class Block:
    """One prompt template with one seed; `group` is the part of the panel it belongs to."""

    template: str
    seed: int
    group: str

    @property
    def noise_seed(self) -> int:
        """Seed of the starting noise."""
        return seed_of("noise", self.template, self.seed)

    def prompt(self, words: str) -> str:
        """The prompt with the persona's words, or the class words, put in."""
        return self.template.replace(PERSONA_WORD, words)


def list_cells(
    bases: Sequence[str],
    checkpoints: Sequence[int],
    strengths: Sequence[float],
    details: Sequence[float] = (0.0,),
) -> list[Cell]:
    """Every cell with a LoRA, base by base, so that a base is loaded once."""
    return [
        Cell(base, checkpoint, strength, detail)
        for base in bases
        for checkpoint in checkpoints
        for detail in sorted(set(details))
        for strength in sorted(set(strengths))
        if strength > 0
    ]


def list_blocks(rows: Sequence[tuple[str, str]], seeds: Sequence[int]) -> list[Block]:
    """Blocks in rounds: every prompt with the first seed, then with the next; within a round the framings take turns.

    A prefix of this list is as balanced over prompts and framings as a prefix can be, which is what an allocator gives
    out: the first three blocks are a close-up, a half body and a full body.
    """
    place: dict[str, int] = {}
    turns = []
    for framing, template in rows:
        turns.append((place.setdefault(framing, 0), framing, template))
        place[framing] += 1
    order = list(place)
    turns.sort(key=lambda turn: (turn[0], order.index(turn[1])))
    return [
        Block(template, seed, framing.replace("_", " " if framing != "close_up" else "-"))
        for seed in seeds
        for _, framing, template in turns
    ]


__all__ = ["PERSONA_WORD", "Block", "Cell", "list_blocks", "list_cells"]
