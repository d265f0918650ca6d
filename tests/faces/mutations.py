"""The four ways to feed a recogniser wrongly that look right: each must cost likeness.

    reader = mutated(pack, "colour order")      reads as the pack says, but for one fault

**Notation**
    FAULTS    name -> what is exchanged    colour order (BGR, RGB), landmark order (the detector's eyes
              named the wrong way round), template (that of 96 x 112 px, which this one's was made from, in a square
              of 128), flip (averaged with the face upside down instead of mirrored)
Photographs of ORL are grey: the colour order is judged on coloured pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.faces.engines.recogniser import Recogniser
from vultus.faces.occlusion import ARCFACE_PX
from vultus.faces.packs import Pack
from vultus.faces.records import Face, Rgb
from vultus.faces.verification import equal_error_rate

__all__ = ["FAULTS", "embed_with", "linked_eer", "people_eer"]

FAULTS: Final = ("colour order", "landmark order", "template", "flip")
Rows = npt.NDArray[np.float32]


class UpsideDown(Recogniser):
    """Averages with the face turned upside down."""

    @staticmethod
    def _mirrored(faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return faces[:, ::-1]


def embed_with(pack: Pack, faces: Sequence[tuple[Rgb, Face]], fault: str = "") -> Rows:
    """Vectors of found faces (points in our order) by the pack's recogniser, with one fault."""
    spec = pack.recogniser
    kind: type[Recogniser] = UpsideDown if fault == "flip" else Recogniser
    if fault == "colour order":
        spec = replace(spec, channels="rgb" if spec.channels == "bgr" else "bgr")
    if fault == "template":
        spec = replace(spec, template_px=tuple((x - 8, y) for x, y in ARCFACE_PX))
    order = [1, 0, 2, 3, 4] if fault == "landmark order" else [0, 1, 2, 3, 4]
    described = replace(pack.spec, recognisers={pack.recogniser_name: spec})
    recogniser = kind(replace(pack, spec=described))
    aligned = [
        recogniser.align(rgb, replace(face, points_px=face.points_px[order])) for rgb, face in faces
    ]
    return recogniser.embed(aligned)


def people_eer(rows: Rows, who: Sequence[str]) -> tuple[float, float]:
    """EER and d' over all pairs of a set with known people."""
    names = np.array(who)
    first, second = np.triu_indices(len(names), 1)
    return _figures(rows, first, second, names[first] == names[second])


def linked_eer(rows: Rows, other: Rows) -> tuple[float, float]:
    """EER and d' where another recogniser says who is who: a cosine of .5 or more is one person.

    With the doubtful pairs (.25 to .45) left out the set is so easy that a swapped colour order
    changes no error at all (EER .0006 both ways).
    """
    first, second = np.triu_indices(len(rows), 1)
    said = (other.astype(np.float64) @ other.astype(np.float64).T)[first, second]
    return _figures(rows, first, second, said >= 0.5)


def _figures(
    rows: Rows,
    first: npt.NDArray[np.intp],
    second: npt.NDArray[np.intp],
    same: npt.NDArray[np.bool_],
) -> tuple[float, float]:
    wide = rows.astype(np.float64)
    cosines = np.einsum("ij,ij->i", wide[first], wide[second])
    g, i = cosines[same], cosines[~same]
    return equal_error_rate(g, i)[0], float(
        (g.mean() - i.mean()) / np.sqrt((g.var() + i.var()) / 2)
    )
