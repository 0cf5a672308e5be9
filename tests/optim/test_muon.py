"""Muon: torch's own where it exists, and the laws of a matrix sign."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from polyak.errors import RefusedError, UsageError
from polyak.optim import AdamW, Average, Muon, Nesterov, rules
from polyak.optim.mismatch import MismatchError

THEIRS = getattr(torch.optim, "Muon", None)
SHAPES = [(6, 4), (4, 9), (5, 5), (16, 3)]


def stepped(optimizer, x, seed, steps=5):
    """Take some steps with drawn gradients."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x.grad = torch.randn(x.shape, generator=draw)
        optimizer.step()
    return x


@pytest.mark.skipif(THEIRS is None, reason="this torch has no Muon")
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs(shape):
    """As near as torch's bfloat16 products let it be."""
    torch.manual_seed(0)
    x = torch.randn(shape)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    one = Muon([mine], lr=0.02, weight_decay=0.1)
    two = THEIRS([theirs], lr=0.02, weight_decay=0.1)
    moved, other = stepped(one, mine, 1) - x, stepped(two, theirs, 1) - x
    assert torch.nn.functional.cosine_similarity(moved.ravel(), other.ravel(), 0) > 0.999
    torch.testing.assert_close(moved.norm(), other.norm(), rtol=0.02, atol=0)
    saved = copy.deepcopy(two.state_dict())
    two.load_state_dict(one.state_dict())
    torch.testing.assert_close(
        two.state[theirs]["momentum_buffer"], one.state[mine]["momentum_buffer"]
    )
    one.load_state_dict(saved)
    torch.testing.assert_close(
        one.state[mine]["momentum_buffer"], saved["state"][0]["momentum_buffer"]
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one_and_directions_stay(shape):
    m = np.random.default_rng(0).normal(size=shape) * 7
    u, values, v = np.linalg.svd(m, full_matrices=False)
    sign = rules.matrix_sign(m) / max(1, shape[0] / shape[1]) ** 0.5
    within = u.T @ sign @ v.T
    assert np.abs(within - np.diag(np.diag(within))).max() < 1e-6
    kept = np.diag(within)[values > 0.05 * values.max()]
    assert 0.6 < kept.min() and kept.max() < 1.3


def test_turning_the_gradient_turns_the_step_and_its_length_does_not_count():
    draw = np.random.default_rng(1)
    m = draw.normal(size=(5, 7))
    turn, other = (np.linalg.qr(draw.normal(size=(k, k)))[0] for k in (5, 7))
    np.testing.assert_allclose(
        rules.matrix_sign(turn @ m @ other), turn @ rules.matrix_sign(m) @ other, atol=1e-6
    )
    np.testing.assert_allclose(rules.matrix_sign(1000 * m), rules.matrix_sign(m), atol=1e-6)


def test_arrays_and_tensors_go_by_one_text():
    draw = np.random.default_rng(2)
    x, dx, velocity = draw.normal(size=(3, 4, 5))
    found = rules.muon(x, dx, velocity, learning_rate=0.1)
    tensors = rules.muon(*map(torch.tensor, (x, dx, velocity)), learning_rate=0.1)
    for one, two in zip(found, tensors, strict=True):
        np.testing.assert_allclose(one, two.numpy(), atol=1e-12)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_a_matrix_of_filters(order):
    torch.manual_seed(0)
    x = torch.randn(8, 3, 3, 3)
    image = x.clone(memory_format=order).requires_grad_()
    matrix = x.reshape(8, 27).clone().requires_grad_()
    dx = torch.randn(x.shape)
    image.grad, matrix.grad = dx.clone(memory_format=order), dx.reshape(8, 27)
    Muon([image], lr=0.1).step()
    Muon([matrix], lr=0.1).step()
    torch.testing.assert_close(image.detach().reshape(8, 27), matrix.detach())


@pytest.mark.parametrize(("others", "kind"), [("adamw", AdamW), ("nesterov", Nesterov)])
def test_all_others_go_by_the_other_rule(others, kind):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2))
    twin = copy.deepcopy(network)
    whole = Muon(network.parameters(), lr=0.05, others=others, others_lr=0.01)
    flat = kind([p for p in twin.parameters() if p.ndim < 2], 0.01, weight_decay=0.0)
    deep = Muon([p for p in twin.parameters() if p.ndim > 1], lr=0.05)
    x = torch.randn(9, 4)
    for _ in range(4):
        for model, optimizers in ((network, [whole]), (twin, [flat, deep])):
            model.zero_grad()
            model(x).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
    for one, two in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)


def test_left_and_loaded_it_goes_on_to_the_same_bits():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)), torch.randn(9, 4)

    def go(model, optimizer, steps):
        for _ in range(steps):
            model.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    whole = copy.deepcopy(network)
    go(whole, Muon(whole.parameters()), 6)
    first = Muon(network.parameters())
    go(network, first, 3)
    second = Muon(network.parameters())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    go(network, second, 3)
    for one, two in zip(network.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, two)


def test_averages_are_those_of_every_step():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    inside, outside = Average(network, half_life=3), Average(network, half_life=3)
    optimizer = Muon(network.parameters(), averages=[inside])
    for _ in range(5):
        network.zero_grad()
        network(torch.randn(7, 4)).square().mean().backward()
        optimizer.step()
        outside.update(network)
    own = network.state_dict()
    with inside.swapped_in(network):
        one = copy.deepcopy(network.state_dict())
    with outside.swapped_in(network):
        assert all(torch.equal(value, one[name]) for name, value in network.state_dict().items())
    assert not torch.equal(one["0.weight"], own["0.weight"])


def test_it_climbs_where_it_is_asked_to():
    x = torch.eye(3, requires_grad=True)
    x.grad = torch.eye(3)
    Muon([x], lr=0.1, maximize=True).step()
    assert (x.diag() > 1).all()


def test_a_scheduler_moves_both_rates():
    optimizer = Muon(nn.Linear(3, 2).parameters(), lr=0.02, others_lr=0.001)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.0005]
    assert [part.param_groups[0]["lr"] for part in optimizer.parts] == [0.01, 0.0005]


def test_a_group_may_keep_its_matrices_from_it():
    head = nn.Linear(3, 2)
    optimizer = Muon([{"params": [head.weight], "muon": False}, {"params": [head.bias]}])
    assert [group["muon"] for group in optimizer.param_groups] == [False, False]
    assert len(optimizer.parts) == 1 and isinstance(optimizer.parts[0], AdamW)


def test_what_does_not_fit_is_refused():
    network = nn.Linear(3, 2)
    with pytest.raises(UsageError, match="no such rule beside Muon"):
        Muon(network.parameters(), others="sgd")
    with pytest.raises(UsageError, match="Muon clips no gradients"):
        Muon(network.parameters(), max_norm=1.0)
    with pytest.raises(UsageError, match="muon=True is for matrices"):
        Muon([{"params": [network.bias], "muon": True}])
    optimizer = Muon(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="other groups"):
        Muon([network.weight]).load_state_dict(optimizer.state_dict())
    other = nn.Linear(4, 2)
    with pytest.raises(RefusedError, match="the parameter"):
        Muon(other.parameters()).load_state_dict(optimizer.state_dict())
    network.weight.data = torch.zeros(5, 3)
    network.weight.grad = torch.zeros(5, 3)
    before = network.bias.detach().clone()
    with pytest.raises(MismatchError):
        optimizer.step()
    assert torch.equal(network.bias, before)
