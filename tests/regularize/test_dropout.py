"""Dropout obeys its law: exactly where all masks can be listed, statistically where not."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from polyak.errors import UsageError
from polyak.regularize import Dropout, SpatialDropout, StochasticDepth


@pytest.mark.parametrize("mode", ["inverted", "vanilla"])
def test_every_mask_of_a_tiny_net(mode, monkeypatch):
    """All 8 masks of 3 units, weighed by their probability: the mean is the test-time answer."""
    p, x = 0.3, torch.tensor([[0.5, -2.0, 3.0]], dtype=torch.float64)
    weight = torch.tensor([1.0, 0.7, -0.2], dtype=torch.float64)
    drop = Dropout(p, mode)
    mean = 0.0
    for mask in itertools.product((0.0, 1.0), repeat=3):
        fixed = torch.tensor([mask], dtype=torch.float64)
        monkeypatch.setattr(torch.Tensor, "bernoulli_", lambda self, keep, m=fixed: self.copy_(m))
        chance = np.prod([1 - p if kept else p for kept in mask])
        mean += chance * (drop(x) @ weight).item()
    assert mean == pytest.approx((drop.eval()(x) @ weight).item(), rel=1e-12)


def test_the_two_modes_at_test_time_differ_by_the_keep_probability():
    x = torch.randn(4, 5)
    assert torch.equal(Dropout(0.4).eval()(x), x)
    assert torch.allclose(Dropout(0.4, "vanilla").eval()(x), 0.6 * x)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("ours", [Dropout, lambda p: Dropout(p, "vanilla"), nn.Dropout])
def test_the_share_of_zeros(ours, p):
    """200,000 draws: within 5 standard errors, which a right generator misses once in 1.7 million;
    a rate that is wrong by 0.01 would be missed less than once in 10,000 (9 standard errors).
    """
    torch.manual_seed(1)
    n = 200_000
    dropped = (ours(p)(torch.ones(n)) == 0).float().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / n) ** 0.5


def test_what_is_kept_is_scaled_as_torch_scales_it():
    torch.manual_seed(0)
    ours, theirs = Dropout(0.3)(torch.ones(1000)), nn.Dropout(0.3)(torch.ones(1000))
    assert set(ours.tolist()) == set(theirs.tolist()) == {0.0, torch.tensor(1 / 0.7).item()}
    assert set(Dropout(0.3, "vanilla")(torch.ones(1000)).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("mode", ["inverted", "vanilla"])
def test_rate_0_is_the_identity(mode):
    x = torch.randn(3)
    drop = Dropout(0.0, mode)
    assert drop(x) is x and drop.eval()(x) is x


@pytest.mark.parametrize("p", [1, 1.5, -0.1, float("nan")])
def test_rates_out_of_range_are_refused(p):
    with pytest.raises(UsageError, match="out of range"):
        Dropout(p)
    with pytest.raises(UsageError, match="no such dropout"):
        Dropout(0.5, "upside-down")


@pytest.mark.parametrize("mode", ["inverted", "vanilla"])
def test_gradients_are_the_mask(mode):
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    y = Dropout(0.5, mode)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient * x, y)

    def seeded(value):
        torch.manual_seed(3)
        return Dropout(0.5, mode)(value)

    assert torch.autograd.gradcheck(seeded, x)


def test_whole_channels_and_whole_images_share_a_fate():
    torch.manual_seed(0)
    maps = SpatialDropout(0.5)(torch.ones(8, 16, 4, 4))
    assert (maps.amax((2, 3)) == maps.amin((2, 3))).all()
    assert 0 < (maps[:, :, 0, 0] == 0).float().mean() < 1
    branch = StochasticDepth(0.5)(torch.ones(64, 3, 2, 2)).flatten(1)
    assert (branch.amax(1) == branch.amin(1)).all()
    assert 0.2 < (branch[:, 0] == 0).float().mean() < 0.8


def test_half_precision_keeps_its_rate_and_type():
    torch.manual_seed(0)
    dropped = Dropout(0.01)(torch.ones(200_000, dtype=torch.bfloat16))
    assert dropped.dtype == torch.bfloat16
    # a mask drawn from bfloat16 uniforms, of 256 values, could not tell 1 % from 0.8 %
    assert abs((dropped == 0).float().mean().item() - 0.01) < 5 * (0.0099 / 200_000) ** 0.5
