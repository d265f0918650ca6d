"""What a training is refused for before anything is loaded: settings that cannot mean what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vultus.core.errors import TrainingError
from vultus.training.records import TrainPicture, TrainSpec

__all__ = ["contradictions", "faces_wanted_by", "refuse_contradictions"]


def _faults(spec: TrainSpec) -> Iterator[tuple[str, str]]:
    """(what, expected) of everything that does not fit together."""
    rates = f"{spec.peak_rate:g} and {spec.text_rate:g}"
    if spec.optimizer == "prodigy" and spec.text_encoders and spec.text_rate != spec.peak_rate:
        # the library would stop in the first step; kohya only warns, and uses one of the two
        yield (
            f"prodigy has one step size for everything, and got the learning rates {rates}",
            'train.text_learning_rate left out, or optimizer = "prodigy_plus" (one d for each)',
        )
    if spec.optimizer == "prodigy_plus" and (spec.schedule != "constant" or spec.warmup_steps):
        yield (
            "prodigy_plus averages instead of letting the rate fall",
            'train.schedule = "constant" and warmup_steps = 0',
        )
    if spec.optimizer != "prodigy" and spec.slice_p != 1:
        yield f"slice_p is prodigy's, not {spec.optimizer}'s", "train.slice_p left out"
    if spec.optimizer not in {"prodigy", "prodigy_plus"} and spec.d_coef != 1.0:
        yield f"d_coef is prodigy's, not {spec.optimizer}'s", "train.d_coef left out"
    if spec.text_learning_rate is not None and not spec.text_encoders:
        yield "text_learning_rate without trained text encoders", "train.text_encoders = true"
    if spec.conv_alpha is not None and not spec.conv_rank:
        yield "conv_alpha without convolutions", "train.conv_rank above 0"
    if spec.identity_weight > 0 and not spec.identity_recogniser:
        yield (
            "identity_weight without a recogniser whose likeness is taught",
            'train.identity_recogniser, e.g. "standin:b": never the one that measures',
        )
    if spec.dora and spec.precision == "fp8":
        yield "DoRA measures the rows of a base that fp8 has rounded", 'train.precision = "bf16"'
    if spec.prior_every and spec.face_weight <= 1:
        yield (
            "prior_every holds what is not the face, and no face is weighted",
            "train.face_weight above 1, or prior_every = 0",
        )


def faces_wanted_by(spec: TrainSpec) -> str:
    """The setting that needs to know where the face of every picture is, "" when none does."""
    if spec.identity_weight > 0:
        return "identity_weight"
    if spec.face_weight > 1:
        return "face_weight"
    return "views" if spec.views != "full" else ""


def contradictions(spec: TrainSpec) -> list[str]:
    """What in a spec cannot be, in words; empty when it fits together."""
    return [f"{what}: expected {expected}" for what, expected in _faults(spec)]


def refuse_contradictions(spec: TrainSpec, pictures: Sequence[TrainPicture]) -> None:
    """Raise TrainingError with the first thing that cannot be, before a base is loaded."""
    if not pictures:
        raise TrainingError("there is no picture to train on", expected="at least one picture")
    for what, expected in _faults(spec):
        raise TrainingError(what, where="[train]", expected=expected)
    _refuse_faceless(spec, pictures)


def _refuse_faceless(spec: TrainSpec, pictures: Sequence[TrainPicture]) -> None:
    """A picture whose face is not known would be trained as if it were all face: refused instead."""
    setting = faces_wanted_by(spec)
    if not setting:
        return
    points = spec.identity_weight > 0
    without = [p.path.name for p in pictures if not p.faces or (points and len(p.points) != 5)]
    if without:
        shown = ", ".join(without[:3]) + (", ..." if len(without) > 3 else "")
        raise TrainingError(
            f"{setting} needs to know where faces are, and {len(without)} of {len(pictures)}"
            f" pictures have none ({shown})",
            where="[train]",
            expected="pictures with the box"
            + (" and five points" if points else "")
            + f" of a face, or {setting} left out",
            next_command="set these pictures aside, or change the setting in vultus.toml",
        )
