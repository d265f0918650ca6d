"""Losses of a diffusion training, each a pure function of tensors.

All of them keep pictures apart until the very end: a loss per picture, a weight per picture, one mean.

Notation
    b           pictures of a batch
    guess       what the network says          (b, channels, h, w) float32
    target      what it should have said       same shape
    a_t         share of signal at step t      (b,) float32, 0..1
    snr         a_t / (1 - a_t)                (b,)
    error       how far off each number is     (b, channels, h, w), >= 0
    mask        1 on the face, 0 elsewhere     (b, 1, h, w) float32, feathered
    ramp        how far the face counts        (b,) 0..1
"""

from __future__ import annotations

import torch

__all__ = [
    "FACE_LOG_SNR",
    "debiased_weight",
    "face_error",
    "face_ramp",
    "face_weights",
    "huber_error",
    "identity_taper",
    "min_snr_weight",
    "per_picture",
    "snr",
    "squared_error",
]

FACE_LOG_SNR = (-3.26, -1.65)
"""SDXL's logSNR at t = 800 and t = 600. Named by noise, not by t: that carries over to other schedules."""


def squared_error(guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(b, c, h, w): the square of every difference (Ho et al., arXiv 2006.11239, eq. 14)."""
    return (guess - target) ** 2


def huber_error(guess: torch.Tensor, target: torch.Tensor, c: float) -> torch.Tensor:
    """(b, c, h, w): the square of small differences, 2 c |d| of large ones, smooth between.

    Charbonnier's pseudo-Huber 2 c (sqrt(d^2 + c^2) - c), scaled as kohya's `--loss_type huber`.
    """
    difference = guess - target
    # not sqrt(d^2 + c^2) - c: that loses all digits of a small difference
    squared = difference**2
    return 2 * c * squared / ((squared + c * c).sqrt() + c)


def per_picture(error: torch.Tensor) -> torch.Tensor:
    """(b,): the mean over everything but the pictures."""
    return error.flatten(1).mean(dim=1)


def snr(a_t: torch.Tensor) -> torch.Tensor:
    """(b,): signal-to-noise ratio of a noise level; infinite where there is no noise."""
    return a_t / (1 - a_t)


def min_snr_weight(a_t: torch.Tensor, gamma: float, prediction: str) -> torch.Tensor:
    """(b,): caps how much nearly clean pictures count (Hang et al., arXiv 2303.09556, section 3.4).

    min(snr, gamma) / snr where the network guesses noise, / (snr + 1) where it guesses v.
    """
    ratio = snr(a_t)
    return ratio.clamp(max=gamma) / (ratio + 1 if prediction == "v_prediction" else ratio)


def debiased_weight(a_t: torch.Tensor, prediction: str) -> torch.Tensor:
    """(b,): counts noisy pictures more (Yu et al., arXiv 2310.08442); snr is cut at 1000 as kohya does.

    1 / sqrt(snr) where the network guesses noise, 1 / (snr + 1) where it guesses v.
    """
    ratio = snr(a_t).clamp(max=1000.0)
    return 1 / (ratio + 1) if prediction == "v_prediction" else ratio.rsqrt()


def face_ramp(a_t: torch.Tensor) -> torch.Tensor:
    """(b,): 1 while the picture shows through the noise, 0 where it cannot, straight in logSNR.

    Near pure noise a good composition need not put the person inside the photograph's box.
    """
    low, high = FACE_LOG_SNR
    return ((snr(a_t).log() - low) / (high - low)).clamp(0.0, 1.0)


def face_weights(mask: torch.Tensor, face_weight: float, ramp: torch.Tensor) -> torch.Tensor:
    """(b, 1, h, w): `face_weight` on the face for 1 elsewhere, then mean 1 over each picture.

    Normalised per picture, so that a full body (0.6 % face) counts as much as a close-up (20 %) and
    no picture of a batch takes weight from another. The idea is OneTrainer's
    `normalize_masked_area_loss`, which is 1 : unmasked_weight (0.1 by default, here 10).
    """
    weight = 1 + (face_weight - 1) * ramp[:, None, None, None] * mask
    return weight / weight.mean(dim=(1, 2, 3), keepdim=True)


def identity_taper(share: torch.Tensor, end: float) -> torch.Tensor:
    """(b,): (1 - t / T)^2 for t / T = `share` below `end`, 0 from there on (ID-Booth's weight, arXiv 2504.07392)."""
    return torch.where(share < end, (1 - share) ** 2, torch.zeros_like(share))


def face_error(
    error: torch.Tensor,
    weight: torch.Tensor,
    *,
    prior_error: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    ramp: torch.Tensor | None = None,
) -> torch.Tensor:
    """(b,): the weighted mean error of each picture.

    With `prior_error` (the distance to what the frozen base says) the surroundings of the face are
    held to the base instead of to the photograph, as far as the ramp reaches: OneTrainer's masked
    prior preservation, which pins the rest of the picture instead of leaving it free.
    """
    if prior_error is not None and mask is not None and ramp is not None:
        own = 1 - ramp[:, None, None, None] * (1 - mask)
        error = own * error + (1 - own) * prior_error
    return per_picture(weight * error)
