"""What any program that knows torch.optim may do with polyak's classes."""

import copy
import gc
import inspect
import pickle

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as S

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
    optimizer_of,
)

OURS = [SGD, Momentum, Nesterov, AdaGrad, RMSProp, Adam, AdamW, NAdam, Lion]
THEIRS = {SGD: torch.optim.SGD, Momentum: torch.optim.SGD, AdaGrad: torch.optim.Adagrad,
          RMSProp: torch.optim.RMSprop, Adam: torch.optim.Adam, AdamW: torch.optim.AdamW,
          NAdam: torch.optim.NAdam}  # fmt: skip


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def closure_of(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = (model(torch.ones(2, 4)) - 1).square().mean()
        loss.backward()
        return loss

    return closure


def configurations():
    """PyTorch's own list of options for each of its optimizers, as far as this version has it."""
    pytest.importorskip("expecttest", reason="torch's test helpers need it")
    common = pytest.importorskip("torch.testing._internal.common_optimizers")
    infos = {info.optim_cls: info for info in common.optim_db}
    for ours, theirs in THEIRS.items():
        for given in infos[theirs].optim_inputs_func(device="cpu"):
            yield ours, theirs, given.kwargs


UNKNOWN = {"amsgrad", "dampening", "nesterov", "centered", "lr_decay"}
UNKNOWN |= {"initial_accumulator_value", "decoupled_weight_decay"}


def test_torchs_own_configurations():
    """Each either gives torch's weights, or is refused: the rule has no such option."""
    ran = 0
    for ours, theirs, kwargs in configurations():
        odd = [k for k in kwargs if k in UNKNOWN and kwargs[k]]
        momentum = kwargs.get("momentum", 0)
        if odd or (ours is RMSProp and "momentum" in kwargs) or kwargs.get("capturable"):
            kwargs = {k: v for k, v in kwargs.items() if k != "params"}
            with pytest.raises((TypeError, RuntimeError)):
                ours([torch.zeros(1, requires_grad=True)], **kwargs)
            continue
        if (ours is Momentum) != bool(momentum) and theirs is torch.optim.SGD:
            continue
        a, b = linear().double(), linear().double()
        eps = {} if theirs is torch.optim.SGD else {"eps": 1e-7}
        mine, other = ours(a.parameters(), **kwargs), theirs(b.parameters(), **(eps | kwargs))
        x = torch.ones(2, 4, dtype=torch.float64)
        for model, optimizer in ((a, mine), (b, other)):
            for _ in range(20):
                optimizer.zero_grad()
                (model(x) - 1).square().mean().backward()
                optimizer.step()
        torch.testing.assert_close(
            a.weight, b.weight, rtol=1e-9, atol=1e-12, msg=f"{ours.__name__} {kwargs}"
        )
        ran += 1
    assert ran >= 20


@pytest.mark.parametrize("cls", OURS)
def test_options_that_no_rule_can_take(cls):
    p = [torch.zeros(2, requires_grad=True)]
    for bad in ({"lr": -1.0}, {"weight_decay": -0.1}, {"lr": float("nan")}, {"max_norm": -1.0}):
        with pytest.raises(ValueError, match="Invalid"):
            cls(p, **bad)
    with pytest.raises(ValueError, match="1-element"):
        cls(p, lr=torch.ones(2))
    with pytest.raises(TypeError, match="unexpected keyword"):
        cls(p, nonsense=1)
    for flag in ("capturable", "differentiable"):
        with pytest.raises(RuntimeError, match="not supported"):
            cls(p, **{flag: True})
    with pytest.raises(RuntimeError, match="cannot be `True` together"):
        cls(p, foreach=True, fused=True)
    with pytest.raises(TypeError, match="params argument"):
        cls(p[0])
    with pytest.raises(ValueError, match="more than one"):
        cls([{"params": p}, {"params": p}])
    if "betas" in cls(p).defaults:
        with pytest.raises(ValueError, match="beta parameter at index 1"):
            cls(p, betas=(0.9, 1.0))


@pytest.mark.parametrize("cls", OURS)
def test_arguments_by_place_mean_what_they_mean_to_torch(cls):
    """Or cannot be given by place."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [
        [name for name, p in inspect.signature(one).parameters.items() if p.kind in kinds]
        for one in (cls, THEIRS.get(cls, torch.optim.SGD))
    ]
    if cls is Lion:  # which torch has not; its authors' order
        names[1] = ["params", "lr", "betas", "weight_decay"]
    if cls is Nesterov:
        names[1] = ["params", "lr", "momentum"]
    assert names[0] == names[1][: len(names[0])]
    assert len(names[0]) >= 2


def test_torchs_calls_by_place_are_not_taken_for_something_else():
    p = [torch.zeros(2, requires_grad=True)]
    with pytest.raises(TypeError, match="positional"):
        SGD(p, 0.1, 0.9)
    with pytest.raises(TypeError, match="positional"):
        AdaGrad(p, 1e-2, 0, 1e-4)
    for cls in (Momentum, Nesterov):
        assert cls(p, 0.1, 0.8).defaults["momentum"] == 0.8
        with pytest.raises(TypeError, match="positional"):
            cls(p, 0.1, 0.8, 0.1)  # torch's dampening
    with pytest.raises(TypeError, match="positional"):
        Adam(p, 1e-3, (0.9, 0.99), 1e-8, 0, False)  # torch's amsgrad
    with pytest.raises(TypeError, match="positional"):
        optimizer_of(friction)(p, 0.1, 0.9)


@pytest.mark.parametrize("cls", OURS)
def test_parameters_that_no_rule_can_take(cls):
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = cls(table.parameters(), lr=0.1)
    table(torch.tensor([1])).sum().backward()
    before = table.weight.clone()
    with pytest.raises(RuntimeError, match=r"sparse gradients.*shape \(4, 2\).*SparseAdam"):
        optimizer.step()
    assert torch.equal(table.weight, before)
    z = torch.ones(2, dtype=torch.complex64, requires_grad=True)
    optimizer = cls([z], lr=0.1)
    z.abs().sum().backward()
    with pytest.raises(RuntimeError, match="view_as_real"):
        optimizer.step()


@pytest.mark.parametrize("cls", OURS)
def test_without_gradients_nothing_happens(cls):
    model = linear()
    optimizer = cls(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not optimizer.state
    model.bias.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(model.weight, before["weight"])
    assert not torch.equal(model.bias, before["bias"])


@pytest.mark.parametrize("cls", OURS)
def test_closures_groups_hooks_and_printing(cls):
    model = linear()
    seen = []
    optimizer = cls([{"params": model.weight, "mine": 7}], lr=0.05)
    optimizer.add_param_group({"params": [model.bias], "lr": 0.0})
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    bias = model.bias.detach().clone()
    losses = [float(optimizer.step(closure_of(model, optimizer)).detach()) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert torch.equal(model.bias, bias)
    assert seen == ["before", "after"] * 20
    assert optimizer.param_groups[0]["mine"] == 7
    assert "lr: 0.05" in repr(optimizer)


def test_counts_may_differ_within_a_group():
    """A layer that was frozen starts its own count, as in torch."""
    a, b = linear().double(), linear().double()
    for model, optimizer in (
        (a, Adam(a.parameters(), eps=1e-8)),
        (b, torch.optim.Adam(b.parameters())),
    ):
        for step in range(6):
            closure_of_double(model, optimizer, freeze=step < 3)
    torch.testing.assert_close(a.bias, b.bias, rtol=1e-12, atol=0)


def closure_of_double(model, optimizer, freeze):
    optimizer.zero_grad()
    (model(torch.ones(2, 4, dtype=torch.float64)) - 1).square().mean().backward()
    if freeze:
        model.bias.grad = None
    optimizer.step()


SCHEDULERS = [
    lambda o: S.LambdaLR(o, lambda e: 0.9**e),
    lambda o: S.MultiplicativeLR(o, lambda e: 0.9),
    lambda o: S.StepLR(o, 2),
    lambda o: S.MultiStepLR(o, [1, 3]),
    lambda o: S.ConstantLR(o, 0.5, 2),
    lambda o: S.LinearLR(o),
    lambda o: S.ExponentialLR(o, 0.9),
    lambda o: S.SequentialLR(o, [S.ConstantLR(o), S.ExponentialLR(o, 0.9)], [2]),
    lambda o: S.PolynomialLR(o),
    lambda o: S.CosineAnnealingLR(o, 4),
    lambda o: S.ChainedScheduler([S.ConstantLR(o), S.ExponentialLR(o, 0.9)]),
    lambda o: S.ReduceLROnPlateau(o, patience=0),
    lambda o: S.CyclicLR(o, 0.01, 0.1, 2),
    lambda o: S.CosineAnnealingWarmRestarts(o, 3),
    lambda o: S.OneCycleLR(o, 0.1, total_steps=8),
]


@pytest.mark.parametrize("number", range(len(SCHEDULERS)))
@pytest.mark.parametrize("cls", [Momentum, Adam])
def test_every_scheduler_of_torch(cls, number):
    a, b = linear().double(), linear().double()
    options = {"lr": 0.05} | ({"momentum": 0.9} if cls is Momentum else {"eps": 1e-7})
    for model, optimizer in (
        (a, cls(a.parameters(), **options)),
        (b, THEIRS[cls](b.parameters(), **options)),
    ):
        scheduler = SCHEDULERS[number](optimizer)
        for _ in range(7):
            closure_of_double(model, optimizer, freeze=False)
            scheduler.step(*([1.0] if isinstance(scheduler, S.ReduceLROnPlateau) else []))
    torch.testing.assert_close(a.weight, b.weight, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cls", [SGD, RMSProp, AdaGrad])
def test_rules_without_momentum_say_so_to_one_cycle(cls):
    optimizer = cls(linear().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="momentum"):
        S.OneCycleLR(optimizer, 0.1, total_steps=8)


def test_timms_scheduler():
    scheduler = pytest.importorskip("timm.scheduler")
    model = linear()
    optimizer = AdamW(model.parameters(), lr=0.1)
    cosine = scheduler.CosineLRScheduler(optimizer, t_initial=4, warmup_t=1, warmup_lr_init=0.01)
    rates = []
    for epoch in range(4):
        cosine.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step(closure_of(model, optimizer))
    assert rates == pytest.approx([0.01, 0.0853553, 0.05, 0.0146447], rel=1e-4)


def test_a_rate_in_a_tensor_is_read_at_every_step():
    x = torch.ones(1, requires_grad=True)
    rate = torch.tensor(0.5)
    optimizer = SGD([x], lr=rate)
    x.grad = torch.ones(1)
    optimizer.step()
    rate.fill_(0.25)
    optimizer.step()
    assert x.item() == 0.25


def test_scaled_gradients_are_unscaled_in_the_pass_and_infinite_ones_skipped():
    x, y = (torch.ones(3, requires_grad=True) for _ in "xy")
    scaled, plain = Adam([x], lr=0.1), Adam([y], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    for _ in range(3):
        scaled.zero_grad()
        scaler.scale((x**2).sum()).backward()
        scaler.step(scaled)
        scaler.update()
        y.grad = 2 * y.detach()
        plain.step()
    assert torch.equal(x, y)
    scaler.scale((x * float("inf")).sum()).backward()
    scaler.step(scaled)
    scaler.update()
    assert torch.equal(x, y)
    assert scaler.get_scale() == 512.0
    assert scaled.state[x]["step"] == 3


@pytest.mark.parametrize("cls", [Momentum, AdamW])
def test_clipping_in_the_pass_is_clipping_before_it(cls):
    a, b = linear().double(), linear().double()
    inside, outside = cls(a.parameters(), lr=0.1, max_norm=0.01), cls(b.parameters(), lr=0.1)
    for _ in range(5):
        inside.step(closure_of_64(a, inside))
        closure_of_64(b, outside)()
        torch.nn.utils.clip_grad_norm_(b.parameters(), 0.01)
        outside.step()
    torch.testing.assert_close(a.weight, b.weight, rtol=1e-12, atol=1e-14)


def closure_of_64(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = (model(torch.ones(2, 4, dtype=torch.float64)) - 1).square().mean()
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("cls", OURS)
def test_a_deep_copy_goes_its_own_way(cls):
    model = linear()
    optimizer = cls(model.parameters(), lr=0.1)
    optimizer.step(closure_of(model, optimizer))
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    public = [k for k in vars(optimizer) if not k.startswith("_")]
    assert all(k in vars(twin_optimizer) for k in public)
    for _ in range(2):
        optimizer.step(closure_of(model, optimizer))
    frozen = twin.weight.detach().clone()
    assert not torch.equal(model.weight, frozen)
    for _ in range(2):
        twin_optimizer.step(closure_of(twin, twin_optimizer))
    assert torch.equal(model.weight, twin.weight)


def test_a_step_inside_a_compiled_function():
    a, b = linear(), linear()
    plain, traced = Adam(a.parameters(), lr=0.1), Adam(b.parameters(), lr=0.1)
    step = torch.compile(traced.step, backend="eager")
    for _ in range(3):
        plain.step(closure_of(a, plain))
        closure_of(b, traced)()
        step()
    torch.testing.assert_close(a.weight, b.weight, rtol=1e-5, atol=1e-6)


def friction(x, dx, velocity, learning_rate, keep=0.5):
    """A rule of somebody's own."""
    velocity = keep * velocity - learning_rate * dx
    return x + velocity, velocity


Friction = optimizer_of(friction, "Friction")


def test_a_rule_of_ones_own_can_be_pickled():
    x = torch.ones(2, requires_grad=True)
    optimizer = Friction([x], lr=0.25, keep=0.5)
    x.grad = torch.ones(2)
    optimizer.step()
    again = pickle.loads(pickle.dumps(optimizer))
    [state] = again.state.values()
    assert state["velocity"].tolist() == [-0.25, -0.25]
    again.step()


def test_a_rule_of_ones_own_is_an_optimizer():
    cls = optimizer_of(friction, "Friction")
    x = torch.ones(2, requires_grad=True)
    optimizer = cls([x], lr=0.25, keep=0.0, weight_decay=1.0)
    x.grad = torch.ones(2)
    optimizer.step()
    assert (x.tolist(), cls.__name__, cls.__doc__) == (
        [0.5, 0.5],
        "Friction",
        "A rule of somebody's own.",
    )
    assert optimizer.state_dict()["state"][0]["velocity"].tolist() == [-0.5, -0.5]


def test_weights_may_move_between_steps():
    model = nn.Conv2d(2, 2, 3)
    other = copy.deepcopy(model)
    a, b = Momentum(model.parameters(), lr=0.1), Momentum(other.parameters(), lr=0.1)
    x = torch.ones(1, 2, 5, 5)
    for step in range(4):
        for net, optimizer in ((model, a), (other, b)):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
        if step == 1:
            model.to(memory_format=torch.channels_last)
            gc.collect()
    torch.testing.assert_close(model.weight, other.weight)
