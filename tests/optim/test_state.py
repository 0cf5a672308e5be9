"""States that are refused, replaced by hooks, or old."""

import pytest
import torch

from polyak.errors import RefusedError
from polyak.optim import SGD, Adam, Momentum, RMSProp


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
