"""Pairs that are one shot become groups, and each group a proposal: which picture stays.

**Notation**
    link     why two pictures are one shot (`datasets.compare.Link`), by pair (i, j), i < j
    group    pictures connected by links, directly or through others
    worth    how good a member is: no crop of another, most real pixels, in colour, with a caption, lossless, by name
    faded    a member without the colour that another one of its group has: a grey or two-tone copy

"Real" pixels: an enlarged copy has more pixels and no more detail, so pixels are scaled by how sharp the picture is
beside the sharpest of its group (squared: two dimensions); a faded copy is no measure, for two tones are all edges. A
good upscale (bicubic, or by a network) is as sharp as its original and is not recognised. Nothing is decided here; the
user's word is (`--apply`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vultus.datasets.compare import Link

__all__ = ["ASKED_FOR", "Group", "Member", "Worth", "find_groups"]

Pair = tuple[int, int]
ASKED_FOR = "you asked for it"
"""The reason of a group whose picture the user chose; later calls go by it."""
COLOURED = 0.02
"""Mean colourfulness from which a picture is one in colour; a grey JPEG has 0.00."""
FADED_SHARE = 0.25


@dataclass(frozen=True)
class Worth:
    """What speaks for keeping a picture. `rank` is whatever the caller wants to decide ties by, smaller first."""

    pixels: int
    sharpness: float
    lossless: bool
    colour: float
    captioned: bool
    name: str
    rank: float = 0.0
    forced: int = 0
    """2 = the user asks for it now, 1 = asked for it before"""


@dataclass(frozen=True)
class Member:
    """One picture of a group that would go: how it repeats `partner`, or the kept one if that link is missing."""

    index: int
    partner: int
    link: Link


@dataclass(frozen=True)
class Group:
    """One shot: the picture to keep, the others, and why that one."""

    keep: int
    reason: str
    members: tuple[Member, ...]


def find_groups(
    links: Mapping[Pair, Link], worth: Sequence[Worth], again: Callable[[int, int], Link | None]
) -> list[Group]:
    """Group pictures by links. `again(i, j)` compares a member with the kept one where that was not done."""
    root = list(range(len(worth)))
    for i, j in links:
        root[_top(root, j)] = _top(root, i)
    shots: dict[int, list[int]] = {}
    for i in sorted({i for pair in links for i in pair}):
        shots.setdefault(_top(root, i), []).append(i)
    crops = {pair[link.crop] for pair, link in links.items() if link.crop is not None}
    groups = [_group(shot, links, worth, crops, again) for shot in shots.values()]
    return sorted(groups, key=lambda group: worth[group.keep].name)


def _top(root: list[int], i: int) -> int:
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


def _group(
    shot: Sequence[int],
    links: Mapping[Pair, Link],
    worth: Sequence[Worth],
    crops: set[int],
    again: Callable[[int, int], Link | None],
) -> Group:
    faded = _faded(shot, worth)
    sharpest = max(worth[i].sharpness for i in shot if i not in faded) or 1.0

    def key(i: int) -> tuple[int, bool, int, bool, bool, float, bool, int, str]:
        one = worth[i]
        share = one.sharpness / sharpest
        # Below that it was enlarged or blurred; above, compression and noise play with the figure.
        real = one.pixels * (share**2 if share < 0.85 else 1.0)
        # Within 2 % two copies are of one size: then form and captions decide, not a rounding.
        size = -round(50 * _log(real))
        return (
            -one.forced,
            i in crops,
            size,
            i in faded,
            not one.captioned,
            one.rank,
            not one.lossless,
            len(one.name),  # a copy is called "x (2)", "x-again"
            one.name,
        )

    ranked = sorted(shot, key=key)
    keep = ranked[0]
    members = []
    for i in sorted(shot):
        if i == keep:
            continue
        pair = (min(i, keep), max(i, keep))
        link = links.get(pair) or again(*pair)
        partner = keep
        if link is None:  # only alike through a third picture of the group
            (a, b), link = next((p, one) for p, one in links.items() if i in p)
            partner = b if a == i else a
        members.append(Member(i, partner, link))
    return Group(keep, _reason(keep, ranked[1], worth, crops, faded), tuple(members))


def _faded(shot: Sequence[int], worth: Sequence[Worth]) -> set[int]:
    """The members that lost the colour that another one has."""
    most = max(worth[i].colour for i in shot)
    return {i for i in shot if most > COLOURED and worth[i].colour < FADED_SHARE * most}


def _log(value: float) -> float:
    from math import log

    return log(max(value, 1.0))


def _reason(
    keep: int, second: int, worth: Sequence[Worth], crops: set[int], faded: set[int]
) -> str:
    a, b = worth[keep], worth[second]
    if a.forced:
        return ASKED_FOR
    if second in crops and keep not in crops:
        return "it shows the whole picture"
    one_size = abs(_log(a.pixels) - _log(b.pixels)) < 0.02
    if one_size and second in faded and keep not in faded:
        return "it is in colour"
    if a.pixels != b.pixels and a.pixels > b.pixels:
        return f"it has the most pixels ({a.pixels / 1e6:.2f} million)"
    if a.pixels < b.pixels:
        return "it is sharper than the larger copy"
    if a.captioned and not b.captioned:
        return "it has a caption"
    if a.lossless and not b.lossless:
        return "it is stored without loss"
    return "the others are no better; it has the plainest name"
