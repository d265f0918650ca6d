"""Captions by an image-to-text model of the transformers library: BLIP, GIT and their like, pinned to one revision.

Models that bring code of their own are refused (`trust_remote_code` is never set): such code has changed under people's
feet even with a pinned library. Weights are safetensors only. A name on the hub needs the full commit of its
revision; a folder is named by the content of its weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vultus.core.errors import DatasetError
from vultus.core.keys import canonical, content_id, file_content_id
from vultus.datasets.captioners.records import CaptionerSpec
from vultus.images.records import Rgb

REVISION = re.compile(r"[0-9a-f]{40}")
CHATTER = re.compile(
    r"^(?:the|this|an?)?\s*(?:image|picture|photo(?:graph)?)\s+(?:shows|depicts|features|of)\s+",
    re.IGNORECASE,
)


class ImageToText:
    """A `Captioner` that runs one model with greedy decoding."""

    def __init__(self, processor: Any, model: Any, mark: str, max_tokens: int) -> None:
        self._processor, self._model = processor, model
        self._mark, self._max_tokens = mark, max_tokens

    @property
    def mark(self) -> str:
        """Model and revision, or the digest of the folder's weights."""
        return self._mark

    def describe(self, pictures: Sequence[Rgb]) -> list[str]:
        """One sentence per picture, without "a photo of" and without a second draft."""
        import torch
        from PIL import Image

        said: list[str] = []
        for rgb in pictures:
            inputs = self._processor(images=Image.fromarray(rgb), return_tensors="pt")
            with torch.inference_mode():
                tokens = self._model.generate(
                    **inputs, max_new_tokens=self._max_tokens, do_sample=False, num_beams=1
                )
            text = self._processor.batch_decode(tokens, skip_special_tokens=True)[0]
            said.append(clean(text))
        return said


def clean(text: str) -> str:
    """The first line of an answer as terms: no chatter in front, no full stop at the end."""
    lines = [line for line in text.splitlines() if line.strip()]
    first = " ".join(lines[0].split()) if lines else ""
    return CHATTER.sub("", first).rstrip(". ").strip()


def open_image_to_text(spec: CaptionerSpec) -> ImageToText:
    """Open a model from a folder, or from the hub at one commit."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = Path(spec.model)
    local = bool(spec.model) and folder.is_dir()
    if not spec.model or (not local and not REVISION.fullmatch(spec.revision)):
        raise DatasetError(
            "the captioner has no pinned model" if spec.model else "the captioner has no model",
            where=spec.model,
            expected="a folder with the model, or a name on the hub with the 40 hex digits of a commit",
            next_command="vultus dataset caption DATASET --captioner transformers --model FOLDER",
        )
    where: dict[str, Any] = {"trust_remote_code": False}
    if not local:
        where["revision"] = spec.revision
    try:
        processor = AutoProcessor.from_pretrained(spec.model, **where)
        model = AutoModelForImageTextToText.from_pretrained(
            spec.model, use_safetensors=True, dtype=torch.float32, **where
        )
    except (OSError, ValueError, ImportError) as fault:
        words = " ".join(str(fault).split())[:200]
        raise DatasetError(
            f"the captioning model cannot be opened ({words})",
            where=spec.model,
            expected="an image-to-text model of the transformers library, safetensors, without code of its own",
            next_command="vultus dataset caption DATASET --captioner template",
        ) from fault
    model.eval()
    mark = f"transformers {spec.model}@{spec.revision}"
    if local:
        weights = sorted(folder.glob("*.safetensors"))
        digest = content_id(canonical([file_content_id(path) for path in weights]).encode())
        mark = f"transformers {digest[:23]}"
    return ImageToText(processor, model, mark, spec.max_tokens)


__all__ = ["ImageToText", "clean", "open_image_to_text"]
