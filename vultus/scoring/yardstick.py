"""The frozen calibration of one persona: what 0 and what 10 mean, and whether that can be said.

Notation
    R        embeddings of the held-out references          float32 (n, d), unit rows, one pack
    E        embeddings of the impostors                    float32 (m, d), unit rows, same pack
    c_b      centroid of R in pose bin b, drawn to that of all, length 1   (d,): `scoring.similarity`
    G        cosine of each reference to the centroid of its bin without it    float64 (n,)
    I        cosine of each impostor to the centroid of its bin                float64 (m,)
    llr      natural log of the likelihood ratio, same person : stranger   float64
    Impostors are renders of the same base, prompts and seeds, LoRA off, the trigger replaced by
    the class words: strangers of the persona's own kind, the hardest there are.
Rule of refusal (reference "measuring", section 4): fewer than 12 references, or Cllr above 0.5.
A Cllr of 1 is a coin toss, 0 is perfect evidence.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vultus.core.errors import ScoreError
from vultus.core.keys import content_id
from vultus.faces.similarity import Vectors
from vultus.scoring.similarity import (
    PULL,
    Bins,
    LeftOut,
    PairsOut,
    leave_pairs_out,
    leave_references_out,
    pose_bins,
)
from vultus.stats.calibration import Calibration, calibrate

__all__ = ["CLLR_MAX", "IMPOSTORS_MIN", "REFERENCES_GOOD", "REFERENCES_MIN", "Yardstick"]

REFERENCES_MIN = 12
"""Below this the 10 % quantile and the genuine mean are guesses (simulated: +-1.1 at 20)."""

REFERENCES_GOOD = 36
"""With so many m10 is good to +-0.9 from 48 renders (simulated: reference "measuring", section 4)."""

IMPOSTORS_MIN = 8
"""Below this the zero of the scale is not a mean of anything."""

CLLR_MAX = 0.5
"""Above this references and strangers overlap too much for a similarity to mean identity."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Two anchors and their evidence, hashed: scores of two yardsticks are not compared.

    Make one with `Yardstick.freeze`, which refuses what cannot carry a verdict.
    """

    references: NDArray[np.float32]
    impostors: NDArray[np.float32]
    impostor_prompts: tuple[str, ...]
    pack_digest: str
    persona: str = ""
    base: str = ""
    reference_ids: tuple[str, ...] = ()
    impostor_misses: int = 0
    reference_poses: tuple[str, ...] = ()
    impostor_poses: tuple[str, ...] = ()
    recogniser: str = ""

    @classmethod
    def freeze(
        cls,
        references: NDArray[Any],
        impostors: NDArray[Any],
        impostor_prompts: Sequence[str],
        pack_digest: str,
        *,
        persona: str = "",
        base: str = "",
        reference_ids: Sequence[str] = (),
        impostor_misses: int = 0,
        reference_poses: Sequence[str] = (),
        impostor_poses: Sequence[str] = (),
        recogniser: str = "",
    ) -> Yardstick:
        """A yardstick from held-out references and impostors of the same base.

        Without poses all pictures lie in one bin. `recogniser` identifies the weights of the judge, so that a LoRA
        taught by the same net can be told (`scoring.panel.contamination`).
        Raises ScoreError with every reason at once when the material cannot carry a score.
        """
        made = cls(
            references=_rows(references),
            impostors=_rows(impostors),
            impostor_prompts=tuple(str(prompt) for prompt in impostor_prompts),
            pack_digest=pack_digest,
            persona=persona,
            base=base,
            reference_ids=tuple(reference_ids),
            impostor_misses=impostor_misses,
            reference_poses=tuple(reference_poses),
            impostor_poses=tuple(impostor_poses),
            recogniser=recogniser,
        )
        made.require()
        return made

    def require(self) -> None:
        """Raise ScoreError with every reason at once unless this material can carry a score."""
        reasons = self.faults()
        if reasons:
            raise ScoreError(
                "no m10 can be given: " + "; ".join(reasons),
                where=", ".join(part for part in (self.persona, self.base) if part),
                expected=(
                    f"at least {REFERENCES_MIN} held-out references of one person, "
                    f"{IMPOSTORS_MIN} impostors, and a Cllr of at most {CLLR_MAX}"
                ),
                next_command="; ".join(self.needs()) or "add pictures of the same person",
            )

    def faults(self) -> tuple[str, ...]:
        """Why this material cannot carry a score; empty when it can."""
        found: list[str] = []
        n, m = len(self.references), len(self.impostors)
        if self.reference_poses and len(self.reference_poses) != n:
            found.append(f"{_count(n, 'reference')} but {len(self.reference_poses)} poses")
        if self.impostor_poses and len(self.impostor_poses) != m:
            found.append(f"{_count(m, 'impostor')} but {len(self.impostor_poses)} impostor poses")
        if len(self.impostor_prompts) != m:
            found.append(f"{m} impostors but {len(self.impostor_prompts)} impostor prompts")
        if n < REFERENCES_MIN:
            found.append(f"{_count(n, 'reference')} with a face, at least {REFERENCES_MIN} needed")
        if m < IMPOSTORS_MIN:
            found.append(f"{_count(m, 'impostor')} with a face, at least {IMPOSTORS_MIN} needed")
        if self.references.shape[1:] != self.impostors.shape[1:]:
            found.append("references and impostors come from two recognisers")
        elif n >= 2 and m >= 2 and not found:
            if self.genuine_mean <= self.impostor_mean:
                found.append("the references are no closer to each other than strangers are")
            elif self.calibration.cllr > CLLR_MAX:
                found.append(
                    f"Cllr {self.calibration.cllr:.2f} is above {CLLR_MAX}: references and "
                    "strangers overlap too much"
                )
        return tuple(found)

    def needs(self) -> tuple[str, ...]:
        """What to add so that a score can be given or gets sharper, in words; empty when nothing is short."""
        n, m = len(self.references), len(self.impostors)
        found: list[str] = []
        if n < REFERENCES_MIN:
            found.append(
                f"add {_count(REFERENCES_MIN - n, 'clear picture')} of the person to hold out,"
                f" better {REFERENCES_GOOD - n}"
            )
        if m < IMPOSTORS_MIN:
            found.append(
                f"add prompts or seeds to the panel: {_count(m, 'impostor')} of {IMPOSTORS_MIN}"
            )
        if not found and n >= 2 and m >= 2 and self._overlapping():
            found.append(
                "look at the references that resemble the others least and replace those that show somebody else,"
                " or take a face pack that knows this kind of picture"
            )
        if n >= REFERENCES_MIN and self.reference_poses:
            thin = [f"{pose} ({n_b})" for pose, n_b in self.poses().items() if n_b < PULL]
            if thin:
                found.append(
                    f"sharper with {PULL:.0f} references of every pose, few are looking {', '.join(thin)}"
                )
        return tuple(found)

    def _overlapping(self) -> bool:
        return self.genuine_mean <= self.impostor_mean or self.calibration.cllr > CLLR_MAX

    def poses(self) -> dict[str, int]:
        """References by pose; empty when poses are not known."""
        return {
            pose: self.reference_poses.count(pose) for pose in sorted(set(self.reference_poses))
        }

    @functools.cached_property
    def bins(self) -> Bins:
        """The references by pose, checked to be unit vectors of one pack."""
        return pose_bins(self._of(self.references).rows, self.reference_poses)

    @functools.cached_property
    def centroids(self) -> Floats:
        """(B + 1, d): one centroid per pose, and that of all."""
        return self.bins.centroids()

    @functools.cached_property
    def genuine(self) -> Floats:
        """G: how close each reference is to the others, those of its own pose first."""
        return self.bins.genuine()

    @functools.cached_property
    def strangers(self) -> Floats:
        """I: how close the base model's strangers come by chance."""
        return self.cosines(self.impostors, self.impostor_poses)

    def cosines(self, embeddings: NDArray[np.float32], poses: Sequence[str] = ()) -> Floats:
        """Cosine of each embedding to the centroid of its pose; without poses to that of all references."""
        rows = self._of(embeddings).rows.astype(np.float64)
        if rows.shape[1] != self.references.shape[1]:
            raise ScoreError(
                f"embeddings of width {rows.shape[1]} met references of width {self.references.shape[1]}",
                expected="faces read with the yardstick's own pack",
            )
        if not poses:
            return np.asarray(np.clip(rows @ self.centroids[-1], -1.0, 1.0))
        if len(poses) != len(rows):
            raise ValueError(f"{len(poses)} poses for {len(rows)} embeddings")
        own = self.centroids[self.bins.place(poses)]
        return np.asarray(np.clip((rows * own).sum(axis=1), -1.0, 1.0))

    @property
    def genuine_mean(self) -> float:
        """The cosine that scores 10."""
        return float(self.genuine.mean())

    @property
    def impostor_mean(self) -> float:
        """The cosine that scores 0."""
        return float(self.strangers.mean())

    @property
    def genuine_cut(self) -> float:
        """The references' own 10 % quantile: the bar of the yield."""
        return float(np.quantile(self.genuine, 0.10))

    @functools.cached_property
    def calibration(self) -> Calibration:
        """The likelihood ratio fitted on G against I, and its health."""
        return calibrate(self.genuine, self.strangers)

    def points(self, cosine: Floats, pose: str = "") -> Floats:
        """Cosines on the m10 scale: 0 at the impostor mean, 10 at the genuine mean.

        With a pose both anchors are those of that pose, drawn to the overall ones by PULL pictures.
        """
        zero, ten = self.anchors(pose)
        return np.asarray(10.0 * (np.asarray(cosine) - zero) / (ten - zero))

    def anchors(self, pose: str = "") -> tuple[float, float]:
        """The cosines that score 0 and 10, overall or for one pose."""
        zero, ten = self.impostor_mean, self.genuine_mean
        if not pose:
            return zero, ten
        own = _pulled(self.strangers, self.impostor_poses, pose, zero)
        return own, max(_pulled(self.genuine, self.reference_poses, pose, ten), own + 1e-6)

    @functools.cached_property
    def left_out(self) -> LeftOut:
        """The anchors without each reference: the part of every interval that all cells share."""
        return leave_references_out(self.bins)

    @functools.cached_property
    def plain_left_out(self) -> LeftOut:
        """The same with poses ignored."""
        return self.left_out if not self.reference_poses else leave_references_out(self._plain)

    @functools.cached_property
    def pairs_out(self) -> PairsOut:
        """The anchors without each pair of references, poses ignored."""
        return leave_pairs_out(self._plain.rows)

    @functools.cached_property
    def plain_genuine_mean(self) -> float:
        """The mean leave-one-out cosine with poses ignored."""
        return float(self._plain.genuine().mean())

    @functools.cached_property
    def _plain(self) -> Bins:
        return pose_bins(self.references)

    @functools.cached_property
    def digest(self) -> str:
        """Content id of everything that enters a score; part of every score's record."""
        text = json.dumps(self._body(), sort_keys=True, separators=(",", ":"))
        return content_id(text.encode())

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary that holds the vectors bit for bit."""
        return {**self._body(), "digest": self.digest}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Yardstick:
        """The inverse of `to_json`; a body that does not match its digest is refused."""
        made = cls(
            references=_unpack(table["references"]),
            impostors=_unpack(table["impostors"]),
            impostor_prompts=tuple(table["impostor_prompts"]),
            pack_digest=str(table["pack_digest"]),
            persona=str(table["persona"]),
            base=str(table["base"]),
            reference_ids=tuple(table["reference_ids"]),
            impostor_misses=int(table["impostor_misses"]),
            reference_poses=tuple(table["reference_poses"]),
            impostor_poses=tuple(table["impostor_poses"]),
            recogniser=str(table["recogniser"]),
        )
        if made.digest != table["digest"]:
            raise ScoreError(
                "this yardstick was changed after it was frozen",
                expected=f"content {table['digest']}, found {made.digest}",
                next_command="run `vultus run` again to freeze a new one",
            )
        return made

    def _of(self, rows: NDArray[np.float32]) -> Vectors:
        return Vectors(rows, self.pack_digest)

    def _body(self) -> dict[str, Any]:
        return {
            "format": 2,
            "references": _pack(self.references),
            "impostors": _pack(self.impostors),
            "impostor_prompts": list(self.impostor_prompts),
            "pack_digest": self.pack_digest,
            "persona": self.persona,
            "base": self.base,
            "reference_ids": list(self.reference_ids),
            "impostor_misses": self.impostor_misses,
            "reference_poses": list(self.reference_poses),
            "impostor_poses": list(self.impostor_poses),
            "recogniser": self.recogniser,
        }


def _rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """float32 rows in memory of our own; length and finiteness are checked by `Vectors`."""
    return np.array(vectors, dtype=np.float32, copy=True)


def _pulled(values: Floats, poses: tuple[str, ...], pose: str, overall: float) -> float:
    """Mean of the values of one pose, drawn to the overall mean by PULL values."""
    own = [value for value, name in zip(values.tolist(), poses, strict=False) if name == pose]
    return float((sum(own) + PULL * overall) / (len(own) + PULL))


def _pack(array: NDArray[np.float32]) -> dict[str, Any]:
    """Little-endian float32 as base64: exact, and small beside decimal text."""
    raw = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return {"shape": list(array.shape), "float32": base64.b64encode(raw).decode("ascii")}


def _unpack(table: Mapping[str, Any]) -> NDArray[np.float32]:
    raw = np.frombuffer(base64.b64decode(table["float32"]), dtype="<f4")
    return raw.reshape(table["shape"]).astype(np.float32)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
