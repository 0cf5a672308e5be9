"""A trunk goes on as if no fall had been."""

from itertools import pairwise

import pytest
import torch

from polyak import optim
from polyak.ensemble import Trunk
from polyak.optim.schedules import branch_spans, wsd

OPTIMIZERS = {
    "adam": lambda p: optim.Adam(p, 0.05),
    "torch's Adam": lambda p: torch.optim.Adam(p, 0.05),
    "nesterov": lambda p: optim.Nesterov(p, 0.05),
    "muon": lambda p: optim.Muon(p, 0.05),
    "muon beside nesterov": lambda p: optim.Muon(p, 0.05, others="nesterov"),
}


def learnt(kind, steps, spans):
    """Train on noise of the trunk's own steps; the falls see noise of their own."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = OPTIMIZERS[kind](network.parameters())
    average = optim.Average(network, decay=0.9)
    trunk, weights, own = Trunk(spans, network, optimizer, average), [], 0
    for step in range(steps):
        trunk.keep(step, step / steps)
        falls = trunk.kept is not None
        torch.manual_seed(1000 + step if falls else own)
        optimizer.zero_grad()
        network(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
        average.update(network)
        if not falls:
            own += 1
            weights.append([*network.state_dict().values(), *average.x_test.values()])
            weights[-1] = [value.clone() for value in weights[-1]]
        trunk.go_back(step + 1, (step + 1) / steps)
    return weights, trunk


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_trunk_goes_on_as_if_no_fall_had_been(kind):
    weights, trunk = learnt(kind, 40, [(0.25, 0.5), (0.6, 0.8), (0.9, 1.0)])
    straight, _ = learnt(kind, 40, [])
    assert trunk.lost == 18 and len(weights) == 22
    for ours, theirs in zip(weights, straight, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_trunk_that_is_saved_within_a_fall_goes_on():
    network = torch.nn.Linear(1, 1)
    first, second = (Trunk([(0.2, 0.4), (0.8, 1.0)], network) for _ in "ab")
    first.keep(2, 0.2)
    before = network.weight.item()
    torch.nn.init.constant_(network.weight, 9)
    second.load_state_dict(first.state_dict())
    assert not second.go_back(3, 0.3) and second.go_back(4, 0.4)
    assert network.weight.item() == before and second.lost == 2


def test_steps_longer_than_a_fall_lose_nothing():
    trunk = Trunk([(0.3, 0.4), (0.9, 1.0)], torch.nn.Linear(1, 1))
    for step in range(2):
        trunk.keep(step, step / 2)
        assert not trunk.go_back(step + 1, (step + 1) / 2)
    assert trunk.lost == 0


@pytest.mark.parametrize("branches", [1, 2, 3, 7, 40])
def test_the_rate_is_whole_on_the_trunk_and_nothing_at_each_end(branches):
    spans = branch_spans(branches)
    lengths = [end - start for start, end in spans]
    assert lengths == pytest.approx([lengths[0]] * branches)
    assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(spans))
    assert spans[-1][1] == 1
    for start, end in spans:
        assert wsd(start - 1e-6, branches) == 1
        assert wsd(start + (end - start) / 4, branches) == pytest.approx(0.5)
        assert wsd(end - 1e-9, branches) < 1e-3
