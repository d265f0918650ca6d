"""Which pictures are held out as references: chosen before anything trains, spread over framing and pose.

References measure the LoRA, so none of them, and no copy of them, may be trained on. They are drawn from
each stratum (third of the set by size of the face x facing) in proportion, by largest remainder, so that a
set with few small faces still measures small faces. Thirds, because what is small is a matter of the set.
Only pictures whose face was read without doubt can be references.
Pictures of one lineage (crops and near-duplicates that were kept) go to the same side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from vultus.core.errors import DatasetError
from vultus.core.seeds import stream
from vultus.datasets.records import Candidate, CurateSpec


def choose_references(
    candidates: Sequence[Candidate], lineage: Mapping[str, str], spec: CurateSpec, seed: int
) -> set[str]:
    """Return the names of the pictures to hold out.

    Raises DatasetError when there are too few pictures for references and training together.
    """
    families: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        families[lineage[candidate.name]].append(candidate)
    sure = {
        name: members
        for name, members in families.items()
        if all(member.face_state == "ok" for member in members)
    }
    wanted = max(spec.references_min, round(spec.reference_share * len(candidates)))
    wanted = min(wanted, max(spec.references_min, len(candidates) - spec.training_min))
    _refuse_too_few(len(candidates), sum(len(m) for m in sure.values()), spec)
    return _draw(sure, wanted, len(candidates) - spec.training_min, seed)


def _draw(families: Mapping[str, list[Candidate]], wanted: int, most: int, seed: int) -> set[str]:
    """Draw whole families, stratum by stratum, until `wanted` pictures are held out."""
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    by_size = sorted(families, key=lambda name: (-families[name][0].face_share, name))
    for position, name in enumerate(by_size):
        third = ("large", "medium", "small")[3 * position // len(by_size)]
        strata[third, families[name][0].facing].append(name)
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
        members = {member.name for member in families[name]}
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


def _refuse_too_few(kept: int, sure: int, spec: CurateSpec) -> None:
    needed = spec.references_min + spec.training_min
    if kept < needed:
        raise DatasetError(
            f"only {kept} usable picture{'' if kept == 1 else 's'} of the persona",
            expected=f"at least {needed}: {spec.references_min} held out as references,"
            f" {spec.training_min} to train on",
            next_command="add pictures to pictures/ and run the same command again"
            " (`vultus dataset show .` lists what was dropped and why)",
        )
    if sure < spec.references_min:
        raise DatasetError(
            f"only {sure} pictures have a face that can be measured without doubt",
            expected=f"at least {spec.references_min} sharp pictures with one clear face"
            " to hold out as references",
            next_command="add sharp pictures with one face and run the same command again",
        )


__all__ = ["choose_references"]
