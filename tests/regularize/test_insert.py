"""Dropout put into a network: where, how much, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from polyak.errors import UsageError
from polyak.networks.build import build
from polyak.regularize import KINDS, Dropout, StochasticDepth, add_dropout, monte_carlo


def compact():
    torch.manual_seed(0)
    network = build("compact", 3, size=(16, 16), widths=(8, 8))
    network.whiten(torch.rand(64, 3, 16, 16))
    return network


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["head", "blocks", "stages.1"])
def test_the_state_dict_stays_and_evaluation_too(where, kind):
    network, plain = compact(), compact()
    assert add_dropout(network, where, 0.5, kind)
    assert list(network.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(network.state_dict())
    x = torch.rand(5, 3, 16, 16)
    assert torch.equal(network.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("kind", ["dropout", "spatial", "connect"])
@pytest.mark.parametrize("where", ["head", "blocks"])
def test_training_drops_and_is_seeded(where, kind):
    network = compact()
    add_dropout(network, where, 0.5, kind)
    x = torch.rand(5, 3, 16, 16)
    twin = copy.deepcopy(network)
    for one in (network, twin):
        one.train()
    torch.manual_seed(1)
    first = network(x)
    torch.manual_seed(1)
    assert torch.equal(first, twin(x))  # a copy drops as the original does
    torch.manual_seed(2)
    assert not torch.equal(first, network(x))


def test_a_sequence_drops_once():
    """The child that holds the dropout is no further link of the chain."""
    block = nn.Sequential(nn.Identity(), nn.Conv2d(4, 4, 1))
    network = nn.Sequential(block)
    add_dropout(network, "blocks", 0.5)
    torch.manual_seed(0)
    dropped = (network(torch.rand(500, 4, 2, 2)) == 0).float().mean().item()
    assert abs(dropped - 0.5) < 5 * (0.25 / 8000) ** 0.5


def test_places():
    assert add_dropout(compact(), "head", 0.1) == ["head"]
    assert add_dropout(compact(), "blocks", 0.1) == ["stages.0", "stages.1"]
    names = add_dropout(compact(), "blocks", 0.1, "connect")
    assert names == ["stages.0.0", "stages.0.4", "stages.1.0", "stages.1.4"]
    resnet = build("resnet10t", 2)
    assert add_dropout(resnet, "layer[34].*", 0.1)[0].startswith("layer3.")
    assert add_dropout(resnet, "head", 0.1) == ["fc"]
    with pytest.raises(UsageError, match="no place"):
        add_dropout(resnet, "nowhere*")
    with pytest.raises(UsageError, match="no such dropout"):
        add_dropout(resnet, "head", 0.1, "gyro")
    with pytest.raises(UsageError, match="out of range"):
        add_dropout(resnet, "head", 1.0)


def test_rate_0_adds_nothing():
    network = compact()
    add_dropout(network, "blocks", 0.0)
    assert not any(isinstance(m, Dropout) for m in network.modules())


def test_a_dropped_block_is_the_identity():
    class Residual(nn.Module):
        def forward(self, x):
            return x + 1

    class Down(nn.Conv2d):
        pass

    blocks = [nn.Sequential(Residual(), nn.Conv2d(2, 2, 1)) for _ in range(2)]
    network = nn.Sequential(*blocks, Down(2, 4, 1))
    add_dropout(network, "blocks", 0.8, "depth")
    rates = [m.p for m in network.modules() if isinstance(m, StochasticDepth)]
    assert rates == pytest.approx([0.8 / 3, 1.6 / 3, 0.8])
    x = torch.rand(400, 2, 1, 1)
    torch.manual_seed(0)
    y = network[0](x)
    same = (y == x).flatten(1).all(1)
    assert abs(same.float().mean().item() - 0.8 / 3) < 5 * (0.27 * 0.73 / 400) ** 0.5
    full = blocks[0].eval()(x)
    keep = 1 - 0.8 / 3
    assert torch.allclose(y[~same], (x + (full - x) / keep)[~same], atol=1e-6)
    # a block that changes the shape has no identity to become
    assert torch.equal(network[2].train()(x), network[2].eval()(x))


def test_monte_carlo_shrinks_as_the_root_of_samples():
    """Over 2,000 repetitions (rows draw on their own) the error falls by 4 when samples grow by 16;
    10 % is more than 6 standard errors of that ratio.
    """
    torch.manual_seed(0)
    network = nn.Sequential(Dropout(0.5), nn.Linear(16, 3))
    x = torch.ones(2000, 16)
    few, spread = monte_carlo(network, x, 4)
    many, _ = monte_carlo(network, x, 64)
    assert torch.allclose(few.std(0) / many.std(0), torch.full((3,), 4.0), rtol=0.1)
    # and the spread that is told is the spread that there is
    told = spread.square().mean(0).sqrt()
    assert torch.allclose(few.std(0), told / 2, rtol=0.1)


def test_monte_carlo_leaves_no_trace():
    network = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    x, state = torch.rand(8, 4), copy.deepcopy(network.state_dict())
    before = torch.get_rng_state()
    a = monte_carlo(network, x, 3, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert not torch.equal(a[0], monte_carlo(network, x, 3, seed=2)[0])
    with pytest.raises(UsageError, match="no dropout"):
        monte_carlo(nn.Linear(2, 2), torch.rand(1, 2))
    with pytest.raises(UsageError, match="2 samples"):
        monte_carlo(network, x, 1)
