"""The settings of the measuring verbs in one file, for those who do not want to repeat them on the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from vultus.datasets.captioners import CaptionerSpec
from vultus.datasets.frames import FramesSpec
from vultus.datasets.records import JudgeSpec
from vultus.datasets.views import ViewsSpec

MEASURING_FILE = "measuring.toml"


@dataclass(frozen=True)
class MeasuringSpec:
    """A file for `--settings` of `vultus dataset audit | caption | split | views | frames`."""

    audit: JudgeSpec = field(default_factory=JudgeSpec)
    captioner: CaptionerSpec = field(default_factory=CaptionerSpec)
    views: ViewsSpec = field(default_factory=ViewsSpec)
    frames: FramesSpec = field(default_factory=FramesSpec)


__all__ = ["MEASURING_FILE", "MeasuringSpec"]
