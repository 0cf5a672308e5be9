"""States that are refused, replaced by hooks, or old."""

import copy

import pytest
import torch

from polyak.errors import RefusedError
from polyak.optim import SGD, AdaGrad, Adam, Lion, Momentum, NAdam, Nesterov, RMSProp


def test_other_algorithms_states_are_refused():
    x = [torch.ones(2, requires_grad=True)]
    x[0].grad = torch.ones(2)
    for theirs, ours, word in (
        (torch.optim.Adam(x, amsgrad=True), Adam, "amsgrad"),
        (torch.optim.RMSprop(x, centered=True), RMSProp, "centered"),
        (torch.optim.SGD(x, lr=0.1, momentum=0.9), SGD, "momentum"),
        (torch.optim.SGD(x, lr=0.1, momentum=0.9, nesterov=True), Momentum, "nesterov"),
        (torch.optim.AdamW(x), Adam, "decoupled_weight_decay"),
    ):
        theirs.step()
        with pytest.raises(RefusedError, match=word):
            ours(x, lr=0.1).load_state_dict(theirs.state_dict())


def test_hooks_of_state_dictionaries_run():
    x = [torch.ones(2, requires_grad=True)]
    optimizer = Momentum(x, lr=0.1)
    x[0].grad = torch.ones(2)
    optimizer.step()
    seen = []

    def doubled(_, state):
        state["state"][0]["momentum_buffer"] = state["state"][0]["momentum_buffer"] * 2
        return state

    optimizer.register_load_state_dict_pre_hook(doubled)
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.state[x[0]]))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    saved = optimizer.state_dict()
    assert saved.pop("note") == 1
    optimizer.load_state_dict(saved)
    assert seen[0]["momentum_buffer"].tolist() == [2.0, 2.0]


def test_old_states_load():
    """Counts as plain numbers, groups without the options of today, as torch promises."""
    x = [torch.ones(2, requires_grad=True)]
    optimizer = Adam(x, lr=0.1)
    x[0].grad = torch.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["step"] = 1
    for key in ("maximize", "foreach", "fused", "capturable", "differentiable", "max_norm"):
        del saved["param_groups"][0][key]
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert optimizer.state[x[0]]["step"] == 2


def stepped(cls):
    """Two named parameters and their optimizer after one step."""
    parameters = [("head", torch.ones(5, 3)), ("bias", torch.ones(5))]
    parameters = [(name, value.requires_grad_()) for name, value in parameters]
    optimizer = cls(parameters, lr=0.1)
    for _, p in parameters:
        p.grad = torch.ones_like(p)
    optimizer.step()
    return optimizer


SHAPES = [(1, 3), (7, 3), (3, 5), (15,), (5, 1), ()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls", [Momentum, Nesterov, AdaGrad, RMSProp, Adam, NAdam, Lion])
def test_a_state_of_another_shape_is_refused(cls, shape):
    optimizer = stepped(cls)
    key = optimizer._state_keys()[-1]
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0][key] = torch.full(shape, 9.0)
    saved["state"][1][key] = torch.full((5,), 9.0)
    before = copy.deepcopy(list(optimizer.state.values()))
    with pytest.raises(RefusedError, match=rf"head: {key} has shape .* the parameter \(5, 3\)"):
        optimizer.load_state_dict(saved)
    for state, old in zip(optimizer.state.values(), before, strict=True):
        assert all(torch.equal(state[k], old[k]) for k in old)


def test_torchs_buffer_of_another_shape_is_refused():
    optimizer = stepped(Nesterov)
    saved = optimizer.torch_state_dict()
    saved["state"][1]["momentum_buffer"] = torch.ones(1)
    with pytest.raises(RefusedError, match=r"bias: momentum_buffer has shape \(1,\)"):
        optimizer.load_state_dict(saved)


@pytest.mark.parametrize(
    ("key", "odd", "why"),
    [
        ("exp_avg", 1.0, "exp_avg has shape"),
        ("exp_avg", None, "no exp_avg"),
        ("step", torch.ones(5), "step is not one number"),
        ("mu_product", torch.ones(0), "mu_product is not one number"),
        ("mu_product", None, "no mu_product"),
        ("step", None, "no step"),
    ],
)
def test_a_state_that_the_rule_cannot_go_on_from_is_refused(key, odd, why):
    optimizer = stepped(NAdam)
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0][key] = odd
    with pytest.raises(RefusedError, match=f"head: .*{why}"):
        optimizer.load_state_dict(saved)


def test_another_rules_state_is_refused():
    optimizer = stepped(Adam)
    with pytest.raises(RefusedError, match="no exp_avg"):
        optimizer.load_state_dict(stepped(Momentum).state_dict())


def test_a_buffer_that_torch_has_not_begun_is_begun_here():
    x = torch.ones(2, requires_grad=True)
    theirs = torch.optim.SGD([x], lr=0.1, momentum=0.9)
    saved = theirs.state_dict()
    saved["state"] = {0: {"momentum_buffer": None}}
    for cls in (Momentum, Nesterov):
        optimizer = cls([x], lr=0.1)
        optimizer.load_state_dict(saved)
        x.grad = torch.ones(2)
        optimizer.step()
