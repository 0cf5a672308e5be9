"""The classes against torch's for the same algorithm, and against themselves after a stop."""

import copy

import pytest
import torch

from polyak.optim import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
)

# polyak's class, torch's, and options that both take
SAME = {
    "sgd": (SGD, torch.optim.SGD, {"lr": 0.05}),
    "momentum": (Momentum, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "nesterov": (Nesterov, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "adagrad": (AdaGrad, torch.optim.Adagrad, {"lr": 0.1, "eps": 1e-7}),
    "rmsprop": (RMSProp, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.95, "eps": 1e-7}),
    "adam": (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-7}),
    "adamw": (AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1, "eps": 1e-7}),
    "nadam": (NAdam, torch.optim.NAdam, {"lr": 0.01, "eps": 1e-7}),
}
OURS = [SGD, Momentum, Nesterov, AdaGrad, RMSProp, Adam, AdamW, NAdam, Lion]


def torch_class(name, parameters):
    _, theirs, options = SAME[name]
    extra = {"nesterov": True} if name == "nesterov" else {}
    return theirs(parameters, **options, **extra)


def weights(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = [(7, 3), (5,), (), (0, 4), (2, 3, 4, 4)]
    made = [torch.randn(s, dtype=dtype, generator=generator) for s in shapes]
    made[-1] = made[-1].to(memory_format=torch.channels_last)
    return [w.requires_grad_() for w in made]


def train(optimizer, parameters, steps, first=0):
    """Follow noisy gradients of a quartic valley; a function of the step's number alone."""
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        for p in parameters:
            noise = torch.randn(p.shape, dtype=torch.float64, generator=generator)
            p.grad = (p.detach().double() ** 3 + p.detach().double() + 0.3 * noise).to(p.dtype)
        optimizer.step()


@pytest.mark.parametrize("name", SAME)
def test_same_as_torch_over_200_steps(name):
    ours, theirs = weights(), weights()
    train(SAME[name][0](ours, **SAME[name][2]), ours, 200)
    train(torch_class(name, theirs), theirs, 200)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("options", [{"weight_decay": 0.1}, {"maximize": True}])
def test_same_as_torch_with_options(name, options):
    cls, _, plain = SAME[name]
    ours, theirs = weights(), weights()
    train(cls(ours, **(plain | options)), ours, 5)
    optimizer = torch_class(name, theirs)
    optimizer.param_groups[0].update(options)
    train(optimizer, theirs, 5)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAME)
def test_a_run_of_torch_goes_on_here_and_back(name):
    cls, _, options = SAME[name]
    whole, parts = weights(torch.float32), weights(torch.float32)
    train(torch_class(name, whole), whole, 30)
    first = torch_class(name, parts)
    train(first, parts, 10)
    second = cls(parts, **options)
    second.load_state_dict(first.state_dict())
    train(second, parts, 10, first=10)
    third = torch_class(name, parts)
    third.load_state_dict(second.torch_state_dict() if name == "nesterov" else second.state_dict())
    train(third, parts, 10, first=20)
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", OURS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_resume_is_exact(cls, dtype, tmp_path):
    whole, parts = weights(dtype), weights(dtype)
    train(cls(whole, lr=0.01), whole, 12)
    first = cls(parts, lr=0.01)
    train(first, parts, 5)
    torch.save(first.state_dict(), tmp_path / "state")
    second = cls(parts, lr=0.5)
    second.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    train(second, parts, 7, first=5)
    assert all(torch.equal(a, b) for a, b in zip(parts, whole, strict=True))


@pytest.mark.parametrize("cls", OURS)
def test_half_precision_weights_have_float32_state(cls):
    parameters = weights(torch.bfloat16)
    optimizer = cls(parameters, lr=0.01)
    train(optimizer, parameters, 1)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    kinds = {v.dtype for state in optimizer.state.values() for v in state.values()}
    assert kinds <= {torch.float32}


@pytest.mark.parametrize("cls", [Adam, AdamW])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_without_bias_correction_and_momentum_adam_is_rmsprop(cls, decay):
    ours, theirs = weights(), weights()
    options = {"lr": 0.01, "weight_decay": decay if cls is Adam else 0.0}
    train(cls(ours, betas=(0.0, 0.95), eps=1e-7, bias_correction=False, **options), ours, 50)
    train(torch.optim.RMSprop(theirs, alpha=0.95, eps=1e-7, **options), theirs, 50)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_adam_almost_takes_the_long_first_steps_of_the_slide(dtype):
    x, y = (torch.zeros(2, dtype=dtype, requires_grad=True) for _ in "xy")
    almost = AdamW([x], lr=0.5, eps=0.0, weight_decay=0.0, bias_correction=False)
    whole = AdamW([y], lr=0.5, eps=0.0, weight_decay=0.0)
    x.grad, y.grad = (torch.full((2,), 3.0, dtype=dtype) for _ in "xy")
    almost.step()
    whole.step()
    # (1 - 0.9) / (1 - 0.999) ** 0.5 times as long as the rate
    torch.testing.assert_close(
        x.double(), torch.full((2,), -0.5 * 10**0.5).double(), rtol=4e-3, atol=0
    )
    torch.testing.assert_close(y.double(), torch.full((2,), -0.5).double(), rtol=4e-3, atol=0)


def test_bias_correction_is_a_groups_and_a_files_own():
    x, y = (torch.ones(2, requires_grad=True) for _ in "xy")
    groups = [{"params": [x]}, {"params": [y], "bias_correction": False}]
    optimizer = Adam(groups, lr=0.1)
    for p in (x, y):
        p.grad = torch.ones(2)
    optimizer.step()
    y.grad = None
    optimizer.step()  # counts differ now
    assert x[0].item() == pytest.approx(0.8)
    assert y[0].item() == pytest.approx(1 - 0.1 * 10**0.5, rel=1e-5)
    again = Adam([{"params": [x]}, {"params": [y]}], lr=0.1)
    again.load_state_dict(optimizer.state_dict())
    assert [group["bias_correction"] for group in again.param_groups] == [True, False]
    old = optimizer.state_dict()
    for group in old["param_groups"]:
        del group["bias_correction"]  # a file from before there was a choice
    again = Adam(groups[:1], lr=0.1)
    again.add_param_group({"params": [y]})
    again.load_state_dict(old)
    assert again.param_groups[0]["bias_correction"] is True
