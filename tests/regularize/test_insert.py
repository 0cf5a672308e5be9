"""Dropout put into a network: where, how much, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from polyak.errors import UsageError
from polyak.networks.build import build
from polyak.regularize import (
    KINDS,
    Dropout,
    StochasticDepth,
    add_dropout,
    dropped,
    monte_carlo,
    places,
)


def compact():
    torch.manual_seed(0)
    network = build("compact", 3, size=(16, 16), widths=(8, 8))
    network.whiten(torch.rand(64, 3, 16, 16))
    return network


class Residual(nn.Module):
    """The simplest block of its kind."""

    def __init__(self, channels=3):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU())

    def forward(self, x):
        return x + self.branch(x)


def chain():
    """Three residual blocks, a block without, one that changes the shape, and a head."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    body = nn.Sequential(Residual(), Residual(), plain, Residual(), nn.Conv2d(3, 4, 2, 2))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(256, 3))


@pytest.mark.parametrize("made", [compact, chain])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["head", "blocks", "*.1"])
def test_the_state_dict_stays_and_evaluation_too(where, kind, made):
    x = torch.rand(5, 3, 16, 16)
    network, plain = made(), made()
    if kind == "depth" and (made is compact or where == "head"):
        with pytest.raises(UsageError, match="no residual block"):
            add_dropout(network, where, 0.5, kind, example=x)
    else:
        assert add_dropout(network, where, 0.5, kind, example=x)
    assert list(network.state_dict()) == list(plain.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), plain.parameters(), strict=True)
    )
    plain.load_state_dict(network.state_dict())
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
    assert add_dropout(resnet, "layer[34].*", 0.1) == ["layer3.0", "layer4.0"]
    assert add_dropout(resnet, "head", 0.1) == ["fc"]
    assert dropped(resnet) == ["layer3.0", "layer4.0", "fc"]
    with pytest.raises(UsageError, match="no place"):
        add_dropout(resnet, "nowhere*")
    with pytest.raises(UsageError, match="no such dropout"):
        add_dropout(resnet, "head", 0.1, "gyro")
    with pytest.raises(UsageError, match="out of range"):
        add_dropout(resnet, "head", 1.0)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("layer[34].*", 4),
        ("layer4*", 1),
        ("layer4.*", 2),
        ("layer4.?.conv*", 4),
        ("*", 10),
        ("l*", 4),
    ],
)
def test_a_star_stops_at_dots(pattern, count):
    assert len(places.matching(build("resnet18", 2), pattern)) == count


@pytest.mark.parametrize(
    ("name", "where", "found"),
    [
        ("resnet18", "layer[34].*", ["layer3.1", "layer4.1"]),  # the others halve the maps
        ("resnet18", "blocks", ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]),
        ("resnet18", "layer1", ["layer1"]),  # two blocks, dropped as one
        ("test_vit", "blocks", [f"blocks.{k}" for k in range(6)]),
        ("convnext_atto", "stages.3.*.*", ["stages.3.blocks.0", "stages.3.blocks.1"]),
        ("mobilenetv2_035", "blocks.1.*", ["blocks.1.1"]),
        ("test_efficientnet", "blocks", []),
        ("densenet121", "blocks", []),
        ("resnet18", "layer4.1.conv1", []),
        ("resnet18", "head", []),
    ],
)
def test_depth_finds_residual_blocks_and_nothing_else(name, where, found):
    network = build(name, 2).eval()
    before = torch.get_rng_state()
    if found:
        assert add_dropout(network, where, 0.5, "depth") == found
    else:
        with pytest.raises(UsageError, match=r"^no residual block.*Next: "):
            add_dropout(network, where, 0.5, "depth")
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in network.modules())  # the new ones included


def test_depth_wants_an_input_where_the_network_names_none():
    with pytest.raises(UsageError, match=r"example.*torch\.zeros"):
        add_dropout(chain(), "blocks", 0.5, "depth")
    with pytest.raises(UsageError, match="does not take the example"):
        add_dropout(chain(), "blocks", 0.5, "depth", example=torch.zeros(1, 5, 2, 2))
    network = chain()
    network[0][1].eval()
    found = add_dropout(network, "blocks", 0.5, "depth", example=torch.zeros(1, 3, 16, 16))
    assert found == ["0.0", "0.1", "0.3"]
    assert network.training and network[0][0].training and not network[0][1].training


def test_dropped_weights_stand_wherever_the_layer_stood():
    """One layer in two places stays one layer, with its hooks and its parameters."""
    shared = nn.Linear(4, 4)
    network = nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared))
    heard = []
    shared.register_forward_hook(lambda *_: heard.append(1))
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    assert add_dropout(network, "*", 0.5, "connect") == ["0"]
    assert network[0] is network[2][0] and network[0].weight is shared.weight
    x = torch.ones(1, 4)
    assert not torch.equal(network(x), network(x)) and len(heard) == 4
    network(x).sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["params"][0] is network[0].weight


def test_rate_0_adds_nothing():
    network = compact()
    add_dropout(network, "blocks", 0.0)
    assert not any(isinstance(m, Dropout) for m in network.modules())


def test_a_dropped_block_is_the_identity():
    network = chain()
    add_dropout(network, "blocks", 0.8, "depth", example=torch.zeros(1, 3, 16, 16))
    rates = [m.p for m in network.modules() if isinstance(m, StochasticDepth)]
    assert rates == pytest.approx([0.8 / 3, 1.6 / 3, 0.8])
    x = torch.rand(400, 3, 1, 1)
    torch.manual_seed(0)
    block = network[0][0]
    y = block(x)
    same = (y == x).flatten(1).all(1)
    assert abs(same.float().mean().item() - 0.8 / 3) < 5 * (0.27 * 0.73 / 400) ** 0.5
    full = block.eval()(x)
    keep = 1 - 0.8 / 3
    assert torch.allclose(y[~same], (x + (full - x) / keep)[~same], atol=1e-6)
    # layers without a way around them always act
    assert torch.equal(network[0][2].train()(x), network[0][2].eval()(x))


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
