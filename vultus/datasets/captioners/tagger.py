"""Tags by a WD14-class tagger through ONNX Runtime: a folder with model.onnx and selected_tags.csv.

Notation
    x    the picture on a white square     float32 (1, S, S, 3), BGR, 0..255 (as the WD14 family was trained)
    p    probability per tag               float32 (n_tags,)
    csv  tag_id, name, category, count     category 0 = general, 4 = a character's name, 9 = rating
Only general tags become words: a character's name would be somebody else's identity. The family was trained on
drawings; its tags of clothes and accessories carry over to photographs, its scores do not. The default threshold is
kohya's.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vultus.core.errors import DatasetError
from vultus.core.keys import file_content_id
from vultus.datasets.captioners.records import CaptionerSpec
from vultus.images.geometry import letterbox
from vultus.images.records import Rgb

GENERAL = "0"
MODEL_FILE, TAGS_FILE = "model.onnx", "selected_tags.csv"
# What the persona is belongs to the trigger, and counting people is the audit's job.
LEFT_OUT = frozenset({"1girl", "1boy", "solo", "realistic", "photorealistic", "photo medium"})


class Tagger:
    """A `Captioner` that names what one picture shows, most certain first."""

    def __init__(
        self, session: Any, tags: Sequence[tuple[str, str]], mark: str, cut: float
    ) -> None:
        self._session, self._tags, self._mark, self._cut = session, tags, mark, cut
        entry = session.get_inputs()[0]
        self._input, self._side_px = entry.name, int(entry.shape[1])

    @property
    def mark(self) -> str:
        """The digest of the model and the threshold."""
        return self._mark

    def describe(self, pictures: Sequence[Rgb]) -> list[str]:
        """Comma-separated general tags of each picture."""
        return [self._describe(rgb) for rgb in pictures]

    def _describe(self, rgb: Rgb) -> str:
        square, _ = letterbox(rgb, self._side_px, 255)
        batch = np.ascontiguousarray(square[None, ..., ::-1], dtype=np.float32)
        p = np.asarray(self._session.run(None, {self._input: batch})[0], dtype=np.float64)[0]
        sure = [
            (float(p[i]), name)
            for i, (name, category) in enumerate(self._tags)
            if category == GENERAL and p[i] >= self._cut and name not in LEFT_OUT
        ]
        return ", ".join(name for _, name in sorted(sure, key=lambda row: (-row[0], row[1])))


def open_tagger(spec: CaptionerSpec) -> Tagger:
    """Open the tagger's folder."""
    import onnxruntime

    folder = Path(spec.model)
    missing = [n for n in (MODEL_FILE, TAGS_FILE) if not (folder / n).is_file()]
    if not spec.model or missing:
        raise _fault(spec.model, f"the tagger's folder lacks {' and '.join(missing)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(folder / MODEL_FILE), sess_options=options, providers=["CPUExecutionProvider"]
        )
        with (folder / TAGS_FILE).open(encoding="utf-8", newline="") as lines:
            tags = [(r["name"].replace("_", " "), r["category"]) for r in csv.DictReader(lines)]
    except Exception as fault:  # onnxruntime raises its own unnamed kinds for every broken graph
        raise _fault(
            spec.model, f"cannot be read ({' '.join(str(fault).split())[:120]})"
        ) from fault
    shape, count = session.get_inputs()[0].shape, session.get_outputs()[0].shape[-1]
    if len(shape) != 4 or shape[3] != 3 or not isinstance(shape[1], int) or count != len(tags):
        raise _fault(
            spec.model, f"{len(tags)} tags met a net of input {shape} with {count} outputs"
        )
    digest = file_content_id(folder / MODEL_FILE).removeprefix("sha256:")[:16]
    return Tagger(session, tags, f"wd14 {digest} >= {spec.threshold:g}", spec.threshold)


def _fault(where: str, what: str) -> DatasetError:
    return DatasetError(
        what,
        where=where,
        expected=f"a folder with {MODEL_FILE} (input 1 x S x S x 3) and {TAGS_FILE} of a WD14-class tagger",
        next_command="vultus dataset caption DATASET --captioner wd14 --model FOLDER",
    )


__all__ = ["Tagger", "open_tagger"]
