"""Who a stand-in person is: forty numbers, most of them geometry, several of them different left and right.

Notation
    z       identity vector           float32 (N_IDENTITY,), uniform in [-1, 1] for the training population
    value   one parameter in its own unit: lengths in head units (1 = half the height of the face),
            angles in radians, colours as fractions; value = centre + half_range * z
A persona outside the training population has some |z| up to 1.2 (rule 7 of the stand-in world:
a LoRA must be able to bind people whom the base has never been near).
Side-specific parameters (SIDED) make a mirrored picture a picture of somebody else (rule 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "COLOURED",
    "N_IDENTITY",
    "PARAMETERS",
    "SIDED",
    "Identity",
    "Parameter",
    "sample_identity",
    "twin_of",
]

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parameter:
    """One dimension of identity: its name, centre, half range, and whether it is colour or sided."""

    name: str
    centre: float
    half_range: float
    colour: bool = False
    sided: bool = False


PARAMETERS: Final[tuple[Parameter, ...]] = (
    Parameter("face_width", 0.76, 0.11),
    Parameter("jaw_width", 0.56, 0.13),
    Parameter("chin_width", 0.22, 0.08),
    Parameter("chin_length", 1.03, 0.12),
    Parameter("temple_width", 0.66, 0.08),
    Parameter("forehead_height", 0.98, 0.08),
    Parameter("eye_spacing", 0.335, 0.055),
    Parameter("eye_height", -0.08, 0.08),
    Parameter("eye_size", 0.165, 0.035),
    Parameter("eye_aspect", 0.52, 0.14),
    Parameter("eye_tilt", 0.06, 0.20),
    Parameter("iris_size", 0.62, 0.10),
    Parameter("lid_weight", 0.5, 0.5),
    Parameter("brow_height", 0.235, 0.06),
    Parameter("brow_thickness", 0.055, 0.028),
    Parameter("brow_length", 0.21, 0.05),
    Parameter("brow_arch", 0.035, 0.055),
    Parameter("brow_tilt", 0.0, 0.16),
    Parameter("nose_length", 0.40, 0.09),
    Parameter("nose_width", 0.125, 0.045),
    Parameter("nose_bridge", 0.5, 0.5),
    Parameter("mouth_height", 0.60, 0.06),
    Parameter("mouth_width", 0.245, 0.065),
    Parameter("upper_lip", 0.050, 0.025),
    Parameter("lower_lip", 0.070, 0.032),
    Parameter("cupid_bow", 0.5, 0.5),
    Parameter("ear_size", 0.16, 0.05),
    Parameter("hair_length", 0.9, 1.0),
    Parameter("hair_volume", 0.17, 0.08),
    Parameter("fringe", 0.30, 0.26),
    Parameter("hair_wave", 0.5, 0.5),
    Parameter("parting", 0.0, 0.45, sided=True),
    Parameter("brow_asymmetry", 0.0, 0.055, sided=True),
    Parameter("eye_asymmetry", 0.0, 0.16, sided=True),
    Parameter("mouth_asymmetry", 0.0, 0.05, sided=True),
    Parameter("nose_skew", 0.0, 0.05, sided=True),
    Parameter("mole_x", 0.0, 0.50, sided=True),
    Parameter("mole_y", 0.42, 0.40),
    Parameter("mole_size", 0.035, 0.035),
    Parameter("skin_depth", 0.5, 0.5, colour=True),
    Parameter("skin_warmth", 0.5, 0.5, colour=True),
    Parameter("hair_depth", 0.5, 0.5, colour=True),
    Parameter("hair_warmth", 0.5, 0.5, colour=True),
    Parameter("eye_hue", 0.5, 0.5, colour=True),
    Parameter("lip_depth", 0.5, 0.5, colour=True),
)
N_IDENTITY: Final = len(PARAMETERS)
_INDEX: Final = {p.name: i for i, p in enumerate(PARAMETERS)}
_CENTRE: Final = np.array([p.centre for p in PARAMETERS], np.float32)
_HALF: Final = np.array([p.half_range for p in PARAMETERS], np.float32)
COLOURED: Final = np.array([p.colour for p in PARAMETERS])
SIDED: Final = np.array([p.sided for p in PARAMETERS])


@dataclass(frozen=True)
class Identity:
    """One person of the stand-in world."""

    z: Vector

    def value(self, name: str) -> float:
        """The named parameter in its own unit (see the table)."""
        i = _INDEX[name]
        return float(_CENTRE[i] + _HALF[i] * self.z[i])

    def values(self) -> dict[str, float]:
        """All parameters in their own units, by name."""
        row = _CENTRE + _HALF * self.z
        return {p.name: float(v) for p, v in zip(PARAMETERS, row, strict=True)}


def sample_identity(rng: np.random.Generator, *, reach: float = 1.0) -> Identity:
    """Draw a person; `reach` > 1 draws from a wider world than the base was trained on."""
    return Identity(rng.uniform(-reach, reach, N_IDENTITY).astype(np.float32))


def twin_of(person: Identity, rng: np.random.Generator) -> Identity:
    """Somebody with the same colours and another geometry: the twin test's impostor."""
    other = sample_identity(rng).z
    return Identity(np.where(COLOURED, person.z, other).astype(np.float32))
