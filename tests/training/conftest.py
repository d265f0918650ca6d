"""Tiny bases and pictures, made once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.training.records import TrainPicture

CAPTIONS = (
    "close up photo of zorblax woman, smiling, looking left",
    "half body photo of zorblax woman, neutral, wearing red shirt",
    "full body photo of zorblax woman, garden background",
    "photo of zorblax woman, soft light, glasses",
    "close up photo of zorblax woman, surprised, wearing blue hat",
)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-in shape: AutoencoderTiny with 8 latent channels."""
    from tests.training.tiny_base import write_tiny_base

    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def kl_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SDXL shape: AutoencoderKL with 4 latent channels and a posterior."""
    from tests.training.tiny_base import write_tiny_base

    return write_tiny_base(tmp_path_factory.mktemp("bases") / "kl", "kl")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[TrainPicture]:
    """Five 64 px pictures with captions."""
    from tests.training.tiny_base import write_pictures

    paths = write_pictures(tmp_path_factory.mktemp("pictures"), len(CAPTIONS))
    return [
        TrainPicture(path, caption, (64, 64)) for path, caption in zip(paths, CAPTIONS, strict=True)
    ]
