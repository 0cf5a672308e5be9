"""Frozen stages once: the same logits and gradients, at the cost of what learns."""

import copy

import numpy as np
import pytest
import torch

from polyak.data.loader import Batch
from polyak.networks import Staged, build, stages
from polyak.transfer import Tuning
from polyak.transfer.memory import FrozenFeatureCache


def tuned(name, strategy="few", staged=False):
    torch.manual_seed(0)
    network = build(name, 3)
    if staged:
        network = Staged(network, tuple(stages(network)), 3)
    tuning = Tuning(network, strategy, norms=False)
    network.train()
    tuning.set_eval()
    return network, tuning


def batches(images, size):
    numbers = np.arange(len(images))
    for start in range(0, len(images), size):
        yield Batch(images[start : start + size], torch.zeros(0), numbers[start : start + size])


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet10t", "vit_tiny_patch16_224"])
def test_what_is_remembered_is_what_would_be_computed(name, staged):
    network, tuning = tuned(name, staged=staged)
    network.eval()  # no dropout: two passes shall agree
    size = 224 if name.startswith("vit") else 64
    images = torch.randn(6, 3, size, size)
    memory = FrozenFeatureCache.of(network, tuning, 6)
    assert memory is not None
    assert list(memory.fill(batches(images, 4))) == [4, 6]
    chosen = np.array([5, 0, 2, 2])
    gradients = []
    for way in (network, lambda pictures: memory(pictures, chosen)):
        logits = way(images[chosen])
        network.zero_grad()
        logits.square().sum().backward()
        gradients.append([logits, *(p.grad for p in network.parameters() if p.requires_grad)])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def counted(network, memory):
    """Count the images that go through the first convolution: of the network, of its twin."""
    seen = [], []
    for one, numbers in zip((network, memory.twin), seen, strict=True):
        one.conv_stem.register_forward_hook(lambda _, i, __, n=numbers: n.append(len(i[0])))
    return seen


def test_the_frozen_part_sees_one_image():
    network, tuning = tuned("mobilenetv3_small_050")
    memory = FrozenFeatureCache.of(network, tuning, 8)
    assert memory is not None
    seen, twin = counted(network, memory)
    images = torch.randn(8, 3, 64, 64)
    list(memory.fill(batches(images[:6], 6)))
    memory(images[:6], np.arange(6))
    memory(images[:2], np.array([1, 5]))
    memory(images[4:], np.arange(4, 8))  # two are not known
    assert (seen, twin) == ([1, 1, 1], [6, 4])


def test_too_much_is_not_kept():
    network, tuning = tuned("mobilenetv3_small_050")
    memory = FrozenFeatureCache.of(network, tuning, 8, limit=1000)
    assert memory is not None
    seen, twin = counted(network, memory)
    images = torch.randn(4, 3, 64, 64)
    assert list(memory.fill(batches(images, 2))) == []
    memory(images, np.arange(4))
    assert (seen, twin) == ([1], [2, 4]) and not memory.tables


def test_a_twin_stops_where_learning_begins():
    network, tuning = tuned("mobilenetv3_small_050")
    memory = FrozenFeatureCache.of(network, tuning, 0, limit=0)
    assert memory is not None
    memory.twin.conv_head.register_forward_hook(lambda *_: pytest.fail("went on"))
    memory(torch.randn(2, 3, 64, 64), np.array([0, 1]))


def test_there_is_no_twin_where_nothing_folds():
    network, tuning = tuned("vit_tiny_patch16_224")
    assert FrozenFeatureCache.of(network, tuning, 0, limit=0) is None
    assert (
        FrozenFeatureCache.of(network, tuning, 1) is not None
    )  # what is said once can still be kept


def test_other_weights_are_noticed():
    network, tuning = tuned("resnet10t")
    memory = FrozenFeatureCache.of(network, tuning, 2)
    assert memory is not None
    images = torch.randn(2, 3, 64, 64)
    list(memory.fill(batches(images, 2)))
    with torch.no_grad():
        next(network.parameters()).mul_(2)
    memory.renew()
    network.eval()
    torch.testing.assert_close(memory(images, np.arange(2)), network(images), rtol=1e-4, atol=1e-4)


def test_a_way_round_the_frozen_stages_is_found_out(monkeypatch):
    network, tuning = tuned("mobilenetv3_small_050")
    plain = type(network).forward

    def past(self, images):
        return plain(self, images) + images.mean((1, 2, 3))[:, None]

    monkeypatch.setattr(type(network), "forward", past)
    assert FrozenFeatureCache.of(copy.deepcopy(network), tuning, 8) is None
