"""The range test finds a rate that trains, and leaves no trace."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from polyak.errors import DivergedError
from polyak.optim import Adam, Momentum, range_test


def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 4))
    x = torch.randn(64, 8)
    y = x[:, :4].argmax(1)
    return model, x, y


def closure_of(model, optimizer, x, y):
    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        random.random()
        np.random.rand()  # noqa: NPY002
        return loss

    return closure


@pytest.mark.parametrize("cls", [Momentum, Adam])
def test_the_suggestion_trains_and_no_trace_is_left(cls, tmp_path):
    model, x, y = problem()
    optimizer = cls(
        [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.5}], lr=1.0
    )
    closure = closure_of(model, optimizer, x, y)
    optimizer.step(closure)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    gradient = model[0].weight.grad
    numbers = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    found = range_test(model, optimizer, closure, plot=tmp_path / "range.svg")
    after = (model.state_dict(), optimizer.state_dict())
    for a, b in zip(
        torch.utils._pytree.tree_leaves(before), torch.utils._pytree.tree_leaves(after), strict=True
    ):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert model[0].weight.grad is gradient
    assert torch.equal(torch.get_rng_state(), numbers[0])
    assert np.random.get_state()[1].tolist() == numbers[1]  # noqa: NPY002
    assert random.getstate() == numbers[2]
    assert "suggested" in (tmp_path / "range.svg").read_text()
    for group, ratio in zip(optimizer.param_groups, (1.0, 0.5), strict=True):
        group["lr"] = found.suggestion * ratio
    losses = [float(optimizer.step(closure).detach()) for _ in range(150)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_that_is_never_finite_is_an_error():
    model, x, y = problem()
    optimizer = Momentum(model.parameters())
    with pytest.raises(DivergedError, match="not finite before the first step"):
        range_test(model, optimizer, closure_of(model, optimizer, x * float("nan"), y))


def test_a_loss_that_never_falls_is_an_error():
    model, x, _ = problem()
    optimizer = Momentum(model.parameters(), maximize=True)
    closure = closure_of(model, optimizer, x, torch.zeros(64, dtype=torch.long))
    with pytest.raises(DivergedError, match="never falls"):
        range_test(model.eval(), optimizer, closure, rates=(0.5, 1.0))


def test_a_closure_that_grows_a_layer_leaves_no_trace_either():
    model, x, y = problem()
    optimizer = Momentum(model.parameters(), lr=0.1)
    closure = closure_of(model, optimizer, x, y)
    optimizer.step(closure)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))

    def growing():
        loss = closure()
        model[3].bias.data = torch.zeros(9)
        return loss

    numbers = torch.get_rng_state()
    with pytest.raises(RuntimeError, match=r"shape \(4,\) beside \(9,\)"):
        range_test(model, optimizer, growing)
    after = (model.state_dict(), optimizer.state_dict()["state"])
    for a, b in zip(
        torch.utils._pytree.tree_leaves(before), torch.utils._pytree.tree_leaves(after), strict=True
    ):
        assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), numbers)
