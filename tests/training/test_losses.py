"""Losses are pure functions with known values: where they agree, where they differ, what they weigh."""

from __future__ import annotations

import pytest
import torch

from vultus.training.native import losses
from vultus.training.native.face_map import face_mask

DRAW = torch.Generator().manual_seed(0)
GUESS = torch.randn(3, 4, 8, 8, generator=DRAW)
TARGET = torch.randn(3, 4, 8, 8, generator=DRAW)


def sdxl_alphas_bar() -> torch.Tensor:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


def test_plain_is_the_mean_squared_error() -> None:
    each = losses.per_picture(losses.squared_error(GUESS, TARGET))
    assert each.shape == (3,)
    torch.testing.assert_close(each.mean(), torch.nn.functional.mse_loss(GUESS, TARGET))


def test_huber_squares_small_differences_and_forgives_large_ones() -> None:
    zero = torch.zeros(1, 1, 1, 1)
    small, large = torch.full_like(zero, 1e-4), torch.full_like(zero, 100.0)
    assert float(losses.huber_error(small, zero, 0.1)) == pytest.approx(1e-8, rel=1e-3)
    assert float(losses.huber_error(large, zero, 0.1)) == pytest.approx(2 * 0.1 * 100, rel=1e-2)
    # the reformulated root equals Charbonnier's own where that can be computed
    wide, c = GUESS.double(), 0.1
    plain = 2 * c * (((wide - TARGET) ** 2 + c * c).sqrt() - c)
    torch.testing.assert_close(losses.huber_error(wide, TARGET.double(), c), plain)


def test_min_snr_touches_only_the_finest_detail() -> None:
    """SDXL, gamma 5: 0.25 at t = 50, 0.59 at 100, 1 from about 150 up."""
    a_t = sdxl_alphas_bar()
    weight = losses.min_snr_weight(a_t, 5.0, "epsilon")
    assert float(weight[50]) == pytest.approx(0.25, abs=0.02)
    assert float(weight[100]) == pytest.approx(0.59, abs=0.02)
    assert bool((weight[160:] == 1).all())
    v = losses.min_snr_weight(a_t, 5.0, "v_prediction")
    torch.testing.assert_close(v, weight * losses.snr(a_t) / (losses.snr(a_t) + 1))


def test_debiased_rises_with_the_noise() -> None:
    a_t = sdxl_alphas_bar()
    weight = losses.debiased_weight(a_t, "epsilon")
    assert bool((weight[1:] >= weight[:-1]).all())
    assert float(weight[0]) == pytest.approx(1000**-0.5, rel=0.1)
    torch.testing.assert_close(weight[500], losses.snr(a_t)[500].rsqrt())


def test_the_ramp_is_full_below_600_and_gone_above_800() -> None:
    ramp = losses.face_ramp(sdxl_alphas_bar())
    assert bool((ramp[:599] == 1).all())
    assert bool((ramp[802:] == 0).all())
    assert 0.3 < float(ramp[700]) < 0.7


def test_every_picture_counts_the_same_whatever_its_face_takes() -> None:
    """A face of 1 latent and one of a quarter of the picture: the weights of both have mean 1."""
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 0, 0] = 1
    mask[1, :, :4, :4] = 1
    weight = losses.face_weights(mask, 10.0, torch.ones(2))
    torch.testing.assert_close(weight.mean(dim=(1, 2, 3)), torch.ones(2))
    for i in range(2):
        inside, outside = weight[i][mask[i] > 0], weight[i][mask[i] == 0]
        torch.testing.assert_close(inside / outside[0], torch.full_like(inside, 10.0))
    # the ramp takes it away, and without it the loss is the plain one
    flat = losses.face_weights(mask, 10.0, torch.zeros(2))
    torch.testing.assert_close(flat, torch.ones(2, 1, 8, 8))


def test_around_the_face_the_base_is_the_target() -> None:
    error, prior = torch.full((2, 4, 8, 8), 3.0), torch.full((2, 4, 8, 8), 5.0)
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, :4] = 1
    weight = losses.face_weights(mask, 3.0, torch.ones(2))
    ramp = torch.tensor([1.0, 0.0])
    found = losses.face_error(error, weight, prior_error=prior, mask=mask, ramp=ramp)
    # half face at 3 times the weight: (3 * 3 + 1 * 5) / 4; without the ramp only the photograph
    torch.testing.assert_close(found, torch.tensor([3.5, 3.0]))


@pytest.mark.parametrize("kind", ["squared", "huber", "face"])
def test_gradients_equal_finite_differences(kind: str) -> None:
    guess = GUESS[:1, :1, :3, :3].double().requires_grad_()
    target = TARGET[:1, :1, :3, :3].double()
    mask = torch.rand(1, 1, 3, 3, dtype=torch.float64, generator=DRAW)
    ramp = torch.tensor([0.4], dtype=torch.float64)

    def loss(guess: torch.Tensor) -> torch.Tensor:
        if kind == "huber":
            return losses.per_picture(losses.huber_error(guess, target, 0.1)).sum()
        error = losses.squared_error(guess, target)
        if kind == "squared":
            return losses.per_picture(error).sum()
        weight = losses.face_weights(mask, 8.0, ramp)
        prior = losses.squared_error(guess, target * 0.5)
        return losses.face_error(error, weight, prior_error=prior, mask=mask, ramp=ramp).sum()

    assert torch.autograd.gradcheck(loss, (guess,))


def test_a_box_lands_where_the_view_shows_it() -> None:
    """A 16 px box in a view that begins at (32, 8) px and is doubled: latents of 8 px."""
    mask = face_mask([(48, 16, 64, 32)], left=32.0, top=8.0, scale=2.0, size=(16, 12), factor_px=8)
    assert mask.shape == (1, 12, 16)
    inside = {(y, x) for y, x in (mask[0] == 1).nonzero().tolist()}
    assert inside == {(y, x) for y in range(2, 6) for x in range(4, 8)}
    assert float(mask[0, 2, 3]) == pytest.approx(0.5)  # the soft edge: half a latent outside
    assert float(mask[0, 2, 1]) == 0.0
    # a face of a third of a latent still counts where it is; out of sight nothing does
    speck = face_mask([(51, 19, 52, 20)], left=32.0, top=8.0, scale=2.0, size=(16, 12), factor_px=8)
    assert (speck[0] == speck.max()).nonzero().tolist() == [[2, 4]]
    hidden = face_mask([(0, 0, 8, 8)], left=32.0, top=8.0, scale=2.0, size=(16, 12), factor_px=8)
    assert bool((hidden == 0).all())
    # where no face is known the whole picture counts
    unknown = face_mask([], left=32.0, top=8.0, scale=2.0, size=(16, 12), factor_px=8)
    assert bool((unknown == 1).all())
