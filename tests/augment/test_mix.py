"""Mixup and cutmix: what goes into images goes into targets."""

import numpy as np
import pytest
import torch

from polyak.augment import cutmix, mixup, soft
from polyak.errors import UsageError

N, K = 64, 64


def batch():
    # image i is the constant i, target i is its unit vector: a mixture can be read off both
    images = torch.arange(N).float()[:, None, None, None].expand(N, 3, 8, 8).clone()
    return images, soft(torch.arange(N), K)


@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("step", range(6))
def test_images_and_targets_are_mixed_alike(mix, step):
    images, targets = mix(*batch(), seed=3, step=step)
    inked = images.mean(dim=(1, 2, 3))
    torch.testing.assert_close(inked, targets @ torch.arange(K).float(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(N))


def test_cutmix_pastes_one_whole_rectangle():
    images, _ = cutmix(*batch(), seed=0, step=1)
    pasted = (images[:, 0] != torch.arange(N)[:, None, None]).any(dim=0)
    rows, columns = pasted.any(dim=1), pasted.any(dim=0)
    assert (pasted == rows[:, None] & columns[None]).all() and 0 < pasted.sum() < 64


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_a_function_of_seed_step_and_rank(mix):
    def digest(**given):
        images, _ = mix(*batch(), **({"seed": 0, "step": 0, "rank": 0} | given))
        return images.numpy().tobytes()

    assert digest() == digest()
    assert len({digest(), digest(seed=1), digest(step=1), digest(rank=1)}) == 4


def test_weights_follow_the_beta_distribution():
    def weight(step):
        _, targets = mixup(*batch(), seed=0, step=step, alpha=0.2)
        moved = targets.diagonal() < 1
        return float(targets.diagonal()[moved][0]) if moved.any() else 1.0

    weights = np.array([weight(step) for step in range(400)])
    assert abs(weights.mean() - 0.5) < 0.08
    # variance of Beta(a, a) is 1 / (4 (2 a + 1))
    assert abs(weights.var() - 1 / (4 * 1.4)) < 0.03


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_alpha_must_be_positive(mix):
    with pytest.raises(UsageError, match=r"alpha\): 0 is not above 0"):
        mix(*batch(), seed=0, step=0, alpha=0)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_layout_in_memory_stays(mix):
    images, targets = batch()
    images = images.to(memory_format=torch.channels_last)
    mixed, _ = mix(images, targets, seed=0, step=1)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
