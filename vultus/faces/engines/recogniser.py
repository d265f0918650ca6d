"""From aligned faces to unit vectors, in the colours, scale and flips that the pack names.

**Notation**
    faces     aligned faces     uint8 (N, S, S, 3), RGB
    x         the net's input   float32 (N, 3, S, S) = (channels - subtract) / divide
    emb       face vectors      float32 (N, d), rows of unit length
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vultus.core.errors import PackError
from vultus.faces.align import align
from vultus.faces.engines.session import Net
from vultus.faces.packs import Pack
from vultus.faces.records import Emb, Face, Rgb

__all__ = ["Recogniser", "unit"]

BATCH: Final = 32
Batch = npt.NDArray[np.uint8]


class Recogniser:
    """The chosen recogniser of a pack."""

    def __init__(self, pack: Pack, *, threads: int = 1) -> None:
        self._spec = pack.recogniser
        self._net = Net(pack.file(self._spec.file), threads=threads)
        side = self._net.input_shape[2:]
        if len(side) != 2 or any(n not in (None, self._spec.size_px) for n in side):
            raise PackError(
                f"the recogniser takes {side} px, but pack.toml says {self._spec.size_px}",
                where=str(self._net.path),
                expected="the net's own input size",
            )

    def align(self, rgb: Rgb, face: Face) -> Rgb:
        """The face as the recogniser sees it, still 8-bit RGB."""
        spec = self._spec
        return align(
            rgb, face.points_px, spec.template_px, spec.size_px, origin=spec.origin, fill=spec.fill
        )

    def embed(self, faces: Sequence[Rgb]) -> npt.NDArray[np.float32]:
        """Unit vectors of aligned faces, (N, d)."""
        rows = [
            self._embed_batch(np.stack(faces[i : i + BATCH])) for i in range(0, len(faces), BATCH)
        ]
        return np.concatenate(rows)

    def _embed_batch(self, faces: Batch) -> npt.NDArray[np.float32]:
        emb = self._raw(faces)
        if self._spec.flip:
            emb = unit(emb + self._raw(self._mirrored(faces)))
        return emb

    @staticmethod
    def _mirrored(faces: Batch) -> Batch:
        """Left and right exchanged; columns are the third axis."""
        return faces[:, :, ::-1]

    def _raw(self, faces: Batch) -> npt.NDArray[np.float32]:
        spec = self._spec
        channels = faces if spec.channels == "rgb" else faces[..., ::-1]
        x = (channels.astype(np.float32) - np.float32(spec.subtract)) / np.float32(spec.divide)
        found = self._net.run(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        return unit(found[self._net.outputs[0]].reshape(len(faces), -1))


def unit(rows: npt.NDArray[np.float32]) -> Emb:
    """Rows divided by their length; a row without a direction is a broken net, not a face."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or float(lengths.min(initial=1.0)) < 1e-12:
        raise PackError(
            "the recogniser returned a vector without length", expected="finite, non-zero numbers"
        )
    return np.asarray(wide / lengths, dtype=np.float32)
