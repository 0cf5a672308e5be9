"""Layers grown, pruned, replaced or moved under an optimizer: refused by name, or stepped right."""

import copy
import gc

import pytest
import torch
from torch import nn

from polyak.optim import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Average,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
    engine,
    rules,
)
from polyak.optim.engine import Pass
from polyak.optim.norm import norm

STATEFUL = [Momentum, Nesterov, AdaGrad, RMSProp, Adam, AdamW, NAdam, Lion]


def backward(model):
    model.zero_grad()
    model(torch.ones(3, 64)).square().sum().backward()


def stepped(cls, rows=2, **options):
    """A model whose second layer has `rows` rows, after one step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, rows))
    optimizer = cls(model.named_parameters(), lr=0.01, **options)
    backward(model)
    optimizer.step()
    return model, optimizer


def everything(model, optimizer):
    return copy.deepcopy((list(model.parameters()), list(optimizer.state.values())))


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return len(one) == len(other) and all(map(same, one, other))


CHANGES = {
    "grown": lambda w: torch.cat([w, torch.zeros(3, 64)]),
    "pruned": lambda w: w[[4, 0]].clone(),
    "pruned to a view": lambda w: w[:2],
    "one row": lambda w: w[:1].clone(),
    "turned": lambda w: w.t(),
    "flat": lambda w: w.flatten(),
    "without rows": lambda w: w[:0].clone(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cls", STATEFUL)
def test_state_of_another_shape_is_refused_by_name(cls, change):
    model, optimizer = stepped(cls, rows=5)
    weight = model[1].weight
    weight.data = CHANGES[change](weight.data)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = everything(model, optimizer)
    key = optimizer._state_keys()[0]
    shapes = rf"shape \(5, 64\) beside {str(tuple(weight.shape)).replace('(', '[(]')[:-1]}\)"
    with pytest.raises(RuntimeError, match=rf"{key} does not fit.*1\.weight: {shapes}.*state\.pop"):
        optimizer.step()
    assert same(before, everything(model, optimizer))
    optimizer.state.pop(weight)
    optimizer.step()
    assert weight.numel() == 0 or not torch.equal(weight, before[0][2])
    assert optimizer.state[weight][key].shape == weight.shape


@pytest.mark.parametrize("cls", STATEFUL)
def test_a_parameter_without_a_name_is_told_by_group_and_place(cls):
    layers = nn.Linear(64, 3), nn.Linear(64, 2)
    optimizer = cls([{"params": layer.parameters()} for layer in layers], lr=0.1)
    for layer in layers:
        layer(torch.ones(3, 64)).sum().backward()
    optimizer.step()
    layers[1].bias.data = torch.ones(4)
    layers[1].bias.grad = torch.ones(4)
    before = everything(layers[0], optimizer)
    with pytest.raises(RuntimeError, match="group 1, parameter 1"):
        optimizer.step()
    assert same(before, everything(layers[0], optimizer))  # the group before is not stepped either


def test_without_state_a_grown_layer_is_stepped_on():
    model, optimizer = stepped(SGD)
    model[1].weight.data = torch.zeros(5, 64)
    model[1].weight.grad = torch.ones(5, 64)
    optimizer.step()
    assert torch.equal(model[1].weight, torch.full((5, 64), -0.01))


@pytest.mark.parametrize("cls", [SGD, *STATEFUL])
def test_a_gradient_of_another_shape_is_refused(cls):
    model, optimizer = stepped(cls)
    optimizer.state.pop(model[1].weight, None)
    model[1].weight.data = torch.zeros(5, 64)  # its gradient is still that of two rows
    with pytest.raises(RuntimeError, match=r"gradient.*1\.weight.*\(2, 64\) beside.*zero_grad"):
        optimizer.step()
    assert not model[1].weight.any()
    model[1].weight.grad = None
    optimizer.step()


@pytest.mark.parametrize("cls", [Momentum, Adam])
def test_state_on_another_device_is_refused(cls):
    model, optimizer = stepped(cls)
    state = optimizer.state[model[0].weight]
    key = optimizer._state_keys()[-1]
    state[key] = state[key].to("meta")
    with pytest.raises(RuntimeError, match=r"0\.weight: device meta beside cpu.*load_state_dict"):
        optimizer.step()


@pytest.mark.parametrize("odd", [None, 1.0, "missing"])
def test_state_that_is_no_tensor_is_refused(odd):
    model, optimizer = stepped(Adam)
    optimizer.state[model[1].bias]["exp_avg"] = odd
    if odd == "missing":
        del optimizer.state[model[1].bias]["exp_avg"]
    with pytest.raises(RuntimeError, match=r"exp_avg does not fit.*1\.bias"):
        optimizer.step()


def test_frozen_layers_of_a_riding_average_are_compared_before_the_step():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 2))
    model[0].requires_grad_(False)
    average = Average(model, decay=0.5)
    optimizer = Adam(model[1].parameters(), lr=0.1, averages=[average])
    backward(model)
    optimizer.step()
    model[0].bias.data = torch.zeros(65)
    before, tests = everything(model, optimizer), copy.deepcopy(average.state_dict())
    with pytest.raises(RuntimeError, match=r"average: 0\.bias: shape \(65,\) beside \(64,\)"):
        optimizer.step()
    assert same(before, everything(model, optimizer))
    assert average.count == tests["count"] == 1
    assert same(average.x_test, tests["x_test"])


def test_a_riding_average_of_another_shape_is_refused():
    model, optimizer = stepped(SGD)
    average = Average(model, decay=0.5)
    optimizer.averages = [average]
    average.x_test["1.weight"] = average.x_test["1.weight"][:1]
    with pytest.raises(RuntimeError, match=r"average.*1\.weight.*\(1, 64\).*new Average"):
        optimizer.step()
    assert average.count == 0


def follow_torch(change, cls=Adam, theirs=torch.optim.Adam, n=3):
    """Change the same thing of the same model under polyak's and torch's optimizer."""
    models = []
    for made, options in ((cls, {}), (theirs, {"eps": 1e-7})):
        model, optimizer = stepped(made, rows=64, **options)
        change(model, optimizer)
        for _ in range(n):
            backward(model)
            optimizer.step()
        models.append(model)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def replaced(model, _):
    model[1].weight.data = model[1].weight.data.clone()
    gc.collect()


def in_the_middle_of_a_buffer(model, _):
    buffer = torch.zeros(3 * 64 * 64)
    place = buffer[64:-64].narrow(0, 0, 64 * 64).view(64, 64)
    model[1].weight.data = place.copy_(model[1].weight.data)


def turned(model, _):
    model[1].weight.data = model[1].weight.data.t()  # the same address, shape and size


def counted_otherwise(model, optimizer):
    kinds = [torch.float64, torch.int64, torch.float32]
    for state, kind in zip(optimizer.state.values(), kinds, strict=False):
        state["step"] = torch.tensor(1, dtype=kind)


@pytest.mark.parametrize("change", [replaced, in_the_middle_of_a_buffer, turned, counted_otherwise])
def test_what_fits_is_stepped_where_it_is_now(change):
    follow_torch(change)


@pytest.mark.parametrize("threads", [1, 2])
def test_weights_that_share_memory_are_stepped_one_after_another(threads):
    flat, start = [], torch.linspace(-1, 1, 200_000)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for cls in (Momentum, torch.optim.SGD):
            buffer = start.clone()
            x, y = (nn.Parameter(part) for part in (buffer[:150_000], buffer[50_000:]))
            optimizer = cls([x, y], lr=0.1, momentum=0.9)
            for _ in range(3):
                x.grad, y.grad = torch.full_like(x, 0.5), torch.full_like(y, -0.25)
                optimizer.step()
            flat.append(buffer)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*flat)


def test_an_expanded_tensor_is_not_written_to():
    x = nn.Parameter(torch.zeros(1).expand(4))
    x.grad = torch.ones(4)
    with pytest.raises(RuntimeError, match=r"group 0, parameter 0: expanded"):
        Momentum([x], lr=0.1).step()
    y = nn.Parameter(torch.zeros(4))
    optimizer = Momentum([y], lr=0.5)
    y.grad = torch.ones(1).expand(4)  # a gradient is only read
    optimizer.step()
    assert y.tolist() == [-0.5] * 4
    optimizer.state[y]["momentum_buffer"] = torch.ones(1).expand(4)
    with pytest.raises(RuntimeError, match=r"momentum_buffer.*expanded"):
        optimizer.step()


def test_freed_memory_is_not_read():
    x = nn.Parameter(torch.zeros(4))
    optimizer = SGD([x], lr=0.1)
    x.grad = torch.ones(4)
    optimizer.step()
    x.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="memory that was freed"):
        optimizer.step()


@pytest.mark.parametrize("shape", [(), (1,), (2, 2)])
def test_a_gradient_that_is_a_negated_view_goes_the_right_way(shape):
    moved = []
    for cls in (SGD, torch.optim.SGD):
        x = torch.full(shape, 2.0, requires_grad=True)
        optimizer = cls([x], lr=0.5)
        for _ in range(2):  # known memory the second time
            optimizer.zero_grad()
            torch.complex(torch.ones(shape), x).conj().abs().sum().backward()
            assert x.grad.is_neg() or x.numel() > 1
            optimizer.step()
        moved.append(x.detach())
    torch.testing.assert_close(*moved)


def test_nothing_known_outlives_its_shape():
    """Each at the address of before, so that only the shape tells."""
    work = Pass(rules.momentum, {"learning_rate": 0.5, "rho": 0.5})
    whole = [torch.ones(5, 64) for _ in range(3)]
    for smaller in ([0, 1], [0], [1], [2]):
        memo = {}
        engine.apply(work, [[t] for t in whole], memo)
        assert memo
        engine.apply(work, [[t] for t in whole], memo)
        cut = [t[:2] if k in smaller else t for k, t in enumerate(whole)]
        with pytest.raises(RuntimeError, match=r"\((2|5), 64\) beside \((2|5), 64\)"):
            engine.apply(work, [[t] for t in cut], memo)


@pytest.mark.parametrize("kind", ["eager", "numba", "together"])
def test_every_engine_compares(kind):
    columns = [[torch.ones(5, 3)], [torch.ones(1, 3)]]  # which would be broadcast
    with pytest.raises(RuntimeError, match=r"\(1, 3\) beside \(5, 3\)"):
        engine.apply(Pass(rules.sgd, {"learning_rate": 0.5}), columns, engine=kind)
    assert torch.equal(columns[0][0], torch.ones(5, 3))


def test_a_pass_has_as_many_columns_as_its_rule_and_averages():
    x = [[torch.ones(3)] for _ in range(3)]
    for work in (
        Pass(rules.sgd, {"learning_rate": 0.5}),
        Pass(rules.adam, {}),
        Pass(rules.momentum, {"learning_rate": 0.5}, decays=[0.5]),
    ):
        with pytest.raises(ValueError, match="3 columns"):
            engine.apply(work, x)
    with pytest.raises(ValueError, match="2 tensors beside 1"):
        engine.apply(Pass(rules.sgd, {"learning_rate": 0.5}), [[x[0][0]], [*x[0], *x[1]]])
    assert all(torch.equal(column[0], torch.ones(3)) for column in x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_of_two_devices():
    assert norm([torch.tensor([3.0]), torch.tensor([4.0], device="cuda")]) == pytest.approx(5.0)
    model, optimizer = stepped(Adam)
    model.cuda()
    backward_there = model(torch.ones(3, 64, device="cuda")).sum()
    model.zero_grad()
    backward_there.backward()
    with pytest.raises(RuntimeError, match=r"device cpu beside cuda:0.*load_state_dict"):
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()
