"""The frozen calibration of one persona: what 0 and what 10 mean, and whether that can be said.

Notation
    R        embeddings of the held-out references          float32 (n, d), unit rows, one pack
    E        embeddings of the impostors                    float32 (m, d), unit rows, same pack
    c        centroid of R, length 1                        (d,)
    G        cosine of each reference to the centroid of the others        float64 (n,)
    I        cosine of each impostor to c                                  float64 (m,)
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
from vultus.faces.similarity import Vectors, cosine_to_centroid, leave_one_out
from vultus.scoring.similarity import LeftOut, leave_references_out
from vultus.stats.calibration import Calibration, calibrate

__all__ = ["CLLR_MAX", "IMPOSTORS_MIN", "REFERENCES_MIN", "Yardstick"]

REFERENCES_MIN = 12
"""Below this the 10 % quantile and the genuine mean are guesses (simulated: +-1.1 at 20)."""

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
    ) -> Yardstick:
        """A yardstick from held-out references and impostors of the same base.

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
                next_command="add pictures of the same person",
            )

    def faults(self) -> tuple[str, ...]:
        """Why this material cannot carry a score; empty when it can."""
        found: list[str] = []
        n, m = len(self.references), len(self.impostors)
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

    @functools.cached_property
    def genuine(self) -> Floats:
        """G: how close each reference is to all the others."""
        return leave_one_out(self._of(self.references))

    @functools.cached_property
    def strangers(self) -> Floats:
        """I: how close the base model's strangers come by chance."""
        return self.cosines(self.impostors)

    def cosines(self, embeddings: NDArray[np.float32]) -> Floats:
        """Cosine of each embedding to the centroid of the references."""
        return cosine_to_centroid(self._of(embeddings), self._of(self.references))

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

    def points(self, cosine: Floats) -> Floats:
        """Cosines on the m10 scale: 0 at the impostor mean, 10 at the genuine mean."""
        span = self.genuine_mean - self.impostor_mean
        return np.asarray(10.0 * (np.asarray(cosine) - self.impostor_mean) / span)

    @functools.cached_property
    def left_out(self) -> LeftOut:
        """The anchors without each reference: the part of every interval that all cells share."""
        return leave_references_out(self.references)

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
            "format": 1,
            "references": _pack(self.references),
            "impostors": _pack(self.impostors),
            "impostor_prompts": list(self.impostor_prompts),
            "pack_digest": self.pack_digest,
            "persona": self.persona,
            "base": self.base,
            "reference_ids": list(self.reference_ids),
            "impostor_misses": self.impostor_misses,
        }


def _rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """float32 rows in memory of our own; length and finiteness are checked by `Vectors`."""
    return np.array(vectors, dtype=np.float32, copy=True)


def _pack(array: NDArray[np.float32]) -> dict[str, Any]:
    """Little-endian float32 as base64: exact, and small beside decimal text."""
    raw = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return {"shape": list(array.shape), "float32": base64.b64encode(raw).decode("ascii")}


def _unpack(table: Mapping[str, Any]) -> NDArray[np.float32]:
    raw = np.frombuffer(base64.b64decode(table["float32"]), dtype="<f4")
    return raw.reshape(table["shape"]).astype(np.float32)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
