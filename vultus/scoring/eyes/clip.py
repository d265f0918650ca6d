"""The eye for real pictures: the cosine of picture and prompt in a CLIP model whose folder the user names.

Notation
    image, text   CLIP's embeddings, unit length      float32 (n, d)
    cosine        of picture and its own prompt       about 0.2 .. 0.35 for ViT-L/14
The folder is one of transformers' layout (config.json, model.safetensors, tokenizer, preprocessor): open_clip's and
OpenAI's models are both published so. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vultus.core.errors import ScoreError
from vultus.images.records import Rgb

__all__ = ["ClipEye"]

BATCH = 16


class ClipEye:
    """A resident CLIP model."""

    def __init__(self, path: Path) -> None:
        import torch
        from transformers import CLIPModel, CLIPProcessor

        try:
            self._model: Any = CLIPModel.from_pretrained(
                str(path), local_files_only=True, use_safetensors=True
            ).eval()
            self._processor: Any = CLIPProcessor.from_pretrained(str(path), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ScoreError(
                f"no CLIP model could be opened: {str(error).splitlines()[0]}",
                where=str(path),
                expected="a folder with config.json, model.safetensors, the tokenizer and the preprocessor",
                next_command="correct [guards] clip in vultus.toml, or empty it",
            ) from error
        self._torch = torch

    def look(self, pictures: Sequence[Rgb], prompts: Sequence[str]) -> list[float | None]:
        """Cosine of each picture and its prompt."""
        found: list[float | None] = []
        for start in range(0, len(pictures), BATCH):
            batch = self._processor(
                text=list(prompts[start : start + BATCH]),
                images=list(pictures[start : start + BATCH]),
                return_tensors="pt",
                padding=True,
                truncation=True,
            )
            with self._torch.inference_mode():
                told = self._model(**batch)
            image, text = told.image_embeds, told.text_embeds
            cosine = (image * text).sum(-1) / (image.norm(dim=-1) * text.norm(dim=-1))
            found += [float(value) for value in cosine]
        return found
