"""Which pictures are held out as references: chosen before anything trains, spread over framing and pose.

References measure the LoRA, so none of them, and no copy of them, may be trained on. They are drawn from
each stratum (third of the set by size of the face x direction) in proportion, by largest remainder, so that a
set with few small faces still measures small faces. Thirds, because what is small is a matter of the set.
Only pictures whose face was read without doubt can be references.
Pictures of one lineage go to the same side: copies and bursts that were kept, crops and views of one parent, frames
of one video shot. `families` draws the lines; `check_split` looks again afterwards and refuses a split that leaks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vultus.core.errors import DatasetError
from vultus.core.seeds import stream
from vultus.datasets.records import JudgeSpec

ADD_PICTURES = "add pictures to pictures/ and run the same command again"
"""What helps a workspace that has too few pictures."""


class Heldable(Protocol):
    """What the split looks at: any record with a name, a size of the face, a direction and a face state."""

    @property
    def name(self) -> str:
        """The user's word for the picture."""

    @property
    def face_share(self) -> float:
        """Height of the face as a share of the picture."""

    @property
    def facing(self) -> str:
        """The stratum of direction."""

    @property
    def face_state(self) -> str:
        """`ok` where the face was read without doubt."""


@dataclass(frozen=True)
class Split:
    """Who is held out and who trains; `family` tells which pictures had to stay together."""

    references: tuple[str, ...]
    training: tuple[str, ...]
    family: Mapping[str, str]
    strata: Mapping[str, tuple[int, int]]
    """stratum -> (held out, all)"""


def families(
    names: Sequence[str],
    links: Iterable[tuple[str, str]],
    parents: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The family of each name: joined by `links` (copies, bursts) and by having one parent (crops, frames of a shot).

    The family is called by its first member in name order. A link to a name that is not in the set joins nothing, but
    two pictures that are both linked to the same absent one (two crops of a picture that was set aside) are family.
    """
    every: dict[str, str] = {name: name for name in names}

    def root(name: str) -> str:
        every.setdefault(name, name)
        while every[name] != name:
            every[name] = every[every[name]]
            name = every[name]
        return name

    for a, b in [*links, *(parents or {}).items()]:
        first, second = sorted((root(a), root(b)))
        every[second] = first
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[root(name)].append(name)
    return {name: min(members) for members in groups.values() for name in members}


def split_pictures(
    pictures: Sequence[Heldable],
    family: Mapping[str, str],
    spec: JudgeSpec,
    seed: int,
    more: str = ADD_PICTURES,
) -> Split:
    """Hold out references and check the outcome. Raises DatasetError when there are too few pictures."""
    held = choose_references(pictures, family, spec, seed, more)
    names = [picture.name for picture in pictures]
    strata: dict[str, tuple[int, int]] = {}
    for picture, stratum in zip(pictures, _strata(pictures), strict=True):
        key = f"{stratum} faces, {picture.facing}"
        seen = strata.get(key, (0, 0))
        strata[key] = (seen[0] + (picture.name in held), seen[1] + 1)
    split = Split(
        references=tuple(name for name in names if name in held),
        training=tuple(name for name in names if name not in held),
        family=dict(family),
        strata=dict(sorted(strata.items())),
    )
    check_split(split)
    return split


def check_split(split: Split) -> None:
    """Raise DatasetError when a family has members on both sides."""
    held = {split.family[name]: name for name in split.references}
    for name in split.training:
        if split.family[name] in held:
            raise DatasetError(
                f"{name} would be trained on, and {held[split.family[name]]} of the same shot measures",
                expected="copies, crops, bursts and frames of one shot on the same side",
                next_command="vultus dataset split DATASET",
            )


def choose_references(
    candidates: Sequence[Heldable],
    lineage: Mapping[str, str],
    spec: JudgeSpec,
    seed: int,
    more: str = ADD_PICTURES,
) -> set[str]:
    """Return the names of the pictures to hold out. `more` says how pictures are added, for a set that lacks some.

    Raises DatasetError when there are too few pictures for references and training together.
    """
    grouped: dict[str, list[Heldable]] = defaultdict(list)
    for candidate in candidates:
        grouped[lineage[candidate.name]].append(candidate)
    sure = {
        name: members
        for name, members in grouped.items()
        if all(member.face_state == "ok" for member in members)
    }
    wanted = max(spec.references_min, round(spec.reference_share * len(candidates)))
    wanted = min(wanted, max(spec.references_min, len(candidates) - spec.training_min))
    _refuse_too_few(len(candidates), sum(len(m) for m in sure.values()), spec, more)
    return _draw(sure, wanted, len(candidates) - spec.training_min, seed)


def _strata(pictures: Sequence[Heldable]) -> list[str]:
    """The third by size of the face of each picture."""
    order = sorted(range(len(pictures)), key=lambda i: (-pictures[i].face_share, pictures[i].name))
    third = {i: ("large", "medium", "small")[3 * k // len(order)] for k, i in enumerate(order)}
    return [third[i] for i in range(len(pictures))]


def _draw(grouped: Mapping[str, list[Heldable]], wanted: int, most: int, seed: int) -> set[str]:
    """Draw whole families, stratum by stratum, until `wanted` pictures are held out."""
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    by_size = sorted(grouped, key=lambda name: (-grouped[name][0].face_share, name))
    for position, name in enumerate(by_size):
        third = ("large", "medium", "small")[3 * position // len(by_size)]
        strata[third, grouped[name][0].facing].append(name)
    total = sum(len(names) for names in strata.values())
    quota = _largest_remainder(
        {key: wanted * len(names) / total for key, names in strata.items()}, wanted
    )
    order: list[tuple[float, str]] = []
    for key, names in sorted(strata.items()):
        shuffled = sorted(names)
        stream("split", seed, *key).shuffle(shuffled)
        # Inside the quota first (rank below 1), the others only where large families left a gap.
        share = max(quota[key], 1e-9)
        order.extend(((position + 0.5) / share, name) for position, name in enumerate(shuffled))
    chosen: set[str] = set()
    for _, name in sorted(order):
        members = {member.name for member in grouped[name]}
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(members) <= most:
            chosen |= members
    return chosen


def _largest_remainder(
    shares: Mapping[tuple[str, str], float], total: int
) -> dict[tuple[str, str], int]:
    quota = {key: int(share) for key, share in shares.items()}
    rest = sorted(shares, key=lambda key: (quota[key] - shares[key], key))
    for key in rest[: max(0, total - sum(quota.values()))]:
        quota[key] += 1
    return quota


def _refuse_too_few(kept: int, sure: int, spec: JudgeSpec, more: str) -> None:
    needed = spec.references_min + spec.training_min
    if kept < needed:
        raise DatasetError(
            f"only {kept} usable picture{'' if kept == 1 else 's'} of the persona",
            expected=f"at least {needed}: {spec.references_min} held out as references,"
            f" {spec.training_min} to train on",
            next_command=more,
        )
    if sure < spec.references_min:
        raise DatasetError(
            f"only {sure} pictures have a face that can be measured without doubt",
            expected=f"at least {spec.references_min} sharp pictures with one clear face"
            " to hold out as references",
            next_command=f"sharp pictures with one face are needed: {more}",
        )


__all__ = [
    "ADD_PICTURES",
    "Heldable",
    "Split",
    "check_split",
    "choose_references",
    "families",
    "split_pictures",
]
