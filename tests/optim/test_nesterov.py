"""Nesterov's velocity, which holds the rate, to torch's buffer and back: also at rate 0."""

import copy
import pickle

import pytest
import torch

from polyak.optim import Nesterov


def weights():
    return [torch.ones(3, requires_grad=True), torch.ones(2, 2, requires_grad=True)]


def train(optimizer, steps, rate=None, first=0):
    """Follow gradients that depend on the step's number alone."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(first, first + steps):
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] if rate is None else rate
        for k, p in enumerate(parameters):
            p.grad = torch.full_like(p, 0.1 * (step + 1) * (-1) ** (step + k))
        optimizer.step()
    return parameters


def torchs(parameters, lr=0.1):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, nesterov=True)


def buffers(optimizer):
    return [state["momentum_buffer"] for state in optimizer.state_dict()["state"].values()]


@pytest.mark.parametrize("rate", [0.0, 1e-30, 0.025, 3.0])
def test_the_buffer_is_torchs_whatever_rate_comes_next(rate):
    ours, theirs = Nesterov(weights(), lr=0.1), torchs(weights())
    train(ours, 7)
    train(theirs, 7)
    for group in ours.param_groups:
        group["lr"] = rate  # as a scheduler leaves it after the last step
    saved = ours.torch_state_dict()
    for number, expected in enumerate(buffers(theirs)):
        torch.testing.assert_close(saved["state"][number]["momentum_buffer"], expected)


def test_steps_at_rate_0_leave_it_finite():
    ours = Nesterov(weights(), lr=0.1)
    train(ours, 3)
    expected = ours.torch_state_dict()["state"][0]["momentum_buffer"]
    train(ours, 2, rate=0.0)
    after = ours.torch_state_dict()["state"][0]["momentum_buffer"]
    torch.testing.assert_close(after, 0.81 * expected)  # momentum fades, 0.9 a step


@pytest.mark.parametrize(
    "way", [lambda o: o, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]
)
def test_torchs_state_loaded_at_rate_0_keeps_its_momentum(way):
    theirs = torchs(weights())
    parameters = [p.detach().clone().requires_grad_() for p in train(theirs, 5)]
    for group in theirs.param_groups:
        group["lr"] = 0.0
    ours = Nesterov(parameters, lr=0.1)
    ours.load_state_dict(theirs.state_dict())
    ours = way(ours)
    torch.testing.assert_close(
        [state["momentum_buffer"] for state in ours.torch_state_dict()["state"].values()],
        buffers(theirs),
    )
    moved = train(ours, 4, rate=0.05, first=5)
    for a, b in zip(moved, train(theirs, 4, rate=0.05, first=5), strict=True):
        torch.testing.assert_close(a, b)


def test_torchs_momentum_waits_while_the_rate_is_0():
    theirs = torchs(weights())
    parameters = train(theirs, 5)
    ours = Nesterov(parameters, lr=0.1)
    ours.load_state_dict(theirs.state_dict())
    before = [p.detach().clone() for p in parameters]
    train(ours, 2, rate=0.0, first=5)
    assert all(torch.equal(p, old) for p, old in zip(parameters, before, strict=True))
    again = Nesterov(parameters, lr=0.1)
    again.load_state_dict(ours.state_dict())  # a checkpoint in between
    for optimizer in (ours, again):
        saved = optimizer.torch_state_dict()["state"]
        torch.testing.assert_close(saved[1]["momentum_buffer"], buffers(theirs)[1])
    train(again, 1, rate=0.1, first=7)
    # 0.9 ** 2 of the buffer moves it, and the new gradient of -0.8, and both ahead
    buffer = 0.9 * buffers(theirs)[0] - 0.8
    torch.testing.assert_close(parameters[0], before[0] - 0.1 * (-0.8 + 0.9 * buffer))


def test_the_rate_of_the_velocity_survives_a_checkpoint():
    ours = Nesterov(weights(), lr=0.1)
    train(ours, 4)
    expected = ours.torch_state_dict()["state"]
    assert "velocity_lr" not in ours.state_dict()["param_groups"][0]  # it is lr
    ours.param_groups[0]["lr"] = 0.0
    again = Nesterov(weights(), lr=0.5)
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(again.torch_state_dict()["state"], expected)


def test_a_velocity_of_unknown_rate_is_left_out():
    """Files of before did not say the rate, and most ended at 0."""
    ours = Nesterov(weights(), lr=0.1)
    train(ours, 4)
    saved = ours.state_dict()
    saved["param_groups"][0]["lr"] = 0.0
    ours.load_state_dict(saved)
    state = ours.torch_state_dict()
    assert state["state"] == {}
    theirs = torchs(weights())
    theirs.load_state_dict(state)
    train(theirs, 1, rate=0.1)
    assert all(p.isfinite().all() for p in theirs.param_groups[0]["params"])
