"""Soups, ensembles and the way back: what stands, and why something does not."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from digit_networks import member
from polyak.augment import Policy
from polyak.data import Loader
from polyak.ensemble import copied
from polyak.model import WeightKind
from polyak.selection import CandidatePool
from polyak.selection.candidates import ensembles, fine_tuned, soups


@pytest.fixture
def trained(parts):
    """A network of one hidden layer that learnt from the other digits."""
    own = member(0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10))
    wanted, part = own.preprocessing, parts["test"]
    colours = {"mean": wanted.mean, "std": wanted.std}
    loader = Loader(part.images, part.dataset.labels, Policy.centre(1.0), size=wanted.size,
                    batch_size=len(part.images), seed=0, **colours)  # fmt: skip
    (batch,) = loader.epoch(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(batch.images), batch.labels).backward()
        optimizer.step()
    return replace(own, network=network.eval())


def shuffled(state):
    """The same function, its hidden units in another order."""
    order = torch.randperm(32, generator=torch.manual_seed(1))
    first = {name: state[name][order] for name in ("1.weight", "1.bias")}
    return state | first | {"3.weight": state["3.weight"][:, order]}


def jittered(state, seed):
    """Nearly the same weights."""
    draw = torch.manual_seed(seed)
    noise = {name: torch.randn(value.shape, generator=draw) for name, value in state.items()}
    return {name: value + 0.1 * noise[name] for name, value in state.items()}


def test_a_soup_across_a_barrier_is_refused_and_says_so(parts, trained):
    pool = CandidatePool(parts, list)
    pool.add("one", copied(trained.network), trained)
    pool.add("same", shuffled(copied(trained.network)), trained)
    assert pool.score(["one"])[1] == pytest.approx(pool.score(["same"])[1], abs=1e-5)
    uniform, greedy = soups(pool, ["one", "same"])
    assert uniform.nll > 1.3 * pool.score(["one"])[1]
    assert f"{uniform.nll:.3f}" in uniform.refused and "not in one basin" in uniform.refused
    assert greedy.refused == "its best ingredient alone is no worse" and greedy.passes == 0


def test_a_soup_within_a_basin_stands(parts, trained):
    pool, state = CandidatePool(parts, list), copied(trained.network)
    for seed in range(3):
        pool.add(f"{seed}", jittered(state, seed), trained)
    alone = [pool.score([name])[1] for name in "012"]
    assert alone[0] == max(alone)
    uniform, greedy = soups(pool, ["0", "1", "2"])
    assert not uniform.refused and uniform.passes == 1
    assert uniform.nll < min(alone)  # noise averages out
    assert not greedy.refused and greedy.nll < uniform.nll  # and the noisiest was left out
    mean = (pool.states["1"]["3.weight"] + pool.states["2"]["3.weight"]) / 2
    assert torch.allclose(pool.states["greedy soup"]["3.weight"], mean, atol=1e-6)
    assert set(pool.states) == {"0", "1", "2", "uniform soup", "greedy soup"}


def test_one_alone_makes_no_soup_and_no_ensemble(pool):
    assert soups(pool, ["a"]) == [] and ensembles(pool, ["a"], "members") == []


def test_without_validation_nothing_is_selected(parts, batches, pool):
    blind = CandidatePool({"test": parts["test"]}, batches)
    for name in "ab":
        blind.add(name, pool.states[name], member(0))
    assert soups(blind, ["a", "b"]) == []
    (every,) = ensembles(blind, ["a", "b"], "members")
    assert (every.name, every.accuracy, every.nll) == ("2 members", 0.0, 0.0)


def test_members_that_validation_selects_are_named_by_how_they_count(parts, trained):
    pool, state = CandidatePool(parts, list), copied(trained.network)
    shifted = {name: state[name].roll(1, 0) for name in ("3.weight", "3.bias")}
    pool.add("wrong", state | shifted, trained)  # always one class off
    for seed in range(3):
        pool.add(f"{seed}", jittered(state, seed), trained)
    every, some = ensembles(pool, pool.members, "snapshots")
    assert every.name == "4 snapshots" and every.states == ("wrong", "0", "1", "2")
    assert some.name == f"{some.passes} of 4 snapshots, weighted" and some.nll < every.nll
    assert some.states.count("2") > some.states.count("wrong") + some.states.count("0")


def test_the_probe_is_eligible_only_where_fine_tuning_did_harm(parts, trained):
    states = {"knows": copied(trained.network)}
    states["empty"] = {name: value * 0.0 for name, value in states["knows"].items()}
    for start, end, harm in (("knows", "empty", True), ("empty", "knows", False)):
        pool = CandidatePool(parts, list)
        pool.add("weights", states[end], trained)
        halfway, probe, both = fine_tuned(pool, states[start], ["weights"], trained)
        assert (both.kind, both.passes, both.travels) == (WeightKind.MEMBERS, 2, False)
        assert (probe.name, probe.share, probe.eligible) == ("probe", 0.0, harm)
        assert halfway.eligible and halfway.share == 1.0
