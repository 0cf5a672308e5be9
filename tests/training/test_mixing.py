"""Mixing in training: the loss of mixed images, and runs that repeat and resume."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from jobs import results, run, steps
from polyak.augment import cutmix, mixup, soft
from polyak.data.loader import Batch
from polyak.optim import SGD
from polyak.training.step import Rates, Targets, TrainingStep

N, K = 12, 5


def training_step(mix, smoothing):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, K))
    optimizer = SGD(network.parameters(), lr=0.1)
    rates, targets = Rates(lambda _: 1.0, [0.1]), Targets(K, label_smoothing=smoothing, mix=mix)
    return TrainingStep(network, optimizer, [], rates, targets, seed=4)


@pytest.mark.parametrize("mix", [partial(mixup, alpha=1.0), partial(cutmix, alpha=1.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_of_both_labels_losses(mix, smoothing):
    images, labels = torch.rand(N, 3, 8, 8), torch.arange(N) % K
    one = training_step(mix, smoothing)
    mixed, targets = mix(images, soft(labels, K), seed=4, step=7)
    assert ((targets > 0).sum(1) == 2).any()
    logits = one.network(mixed)
    each = torch.stack(
        [
            functional.cross_entropy(
                logits, torch.full((N,), k), label_smoothing=smoothing, reduction="none"
            )
            for k in range(K)
        ],
        dim=1,
    )
    expected = (each * targets).sum(1).mean()
    loss = one(Batch(images, labels, np.arange(N)), 7, 0.0, N)
    torch.testing.assert_close(loss, expected.detach())


def test_without_mixing_labels_stay_integers():
    images, labels = torch.rand(N, 3, 8, 8), torch.arange(N) % K
    one = training_step(None, 0.1)
    expected = functional.cross_entropy(one.network(images), labels, label_smoothing=0.1)
    loss = one(Batch(images, labels, np.arange(N)), 7, 0.0, N)
    torch.testing.assert_close(loss, expected.detach())


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_a_run_that_mixes_resumes_exactly(job, tmp_path, mix):
    run(job(name="whole", mix=mix))
    steps(job(mix=mix), 7)
    run(job(mix=mix), resume=True)
    run(job(name="other", mix="none"))
    whole, resumed, other = (results(tmp_path / "runs" / n) for n in ("whole", "job", "other"))
    assert resumed == whole
    assert other["model.safetensors"] != whole["model.safetensors"]
    assert "mix_alpha: " in (tmp_path / "runs/whole/config.yaml").read_text()
