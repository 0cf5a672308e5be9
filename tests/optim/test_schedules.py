"""Schedules against torch's, and their laws."""

import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as S

from polyak.errors import RefusedError, UsageError
from polyak.optim import Momentum, Scheduled, schedules

NAMES = ["constant", "step", "exponential", "inverse", "cosine", "sgdr", "cyclic", "one_cycle"]
ALL = [getattr(schedules, name) for name in NAMES]
progress = st.floats(0, 1)


def rates(make, steps=24, momentum=None):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5, momentum=0.9)
    scheduler = make(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["momentum" if momentum else "lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedules.constant, lambda o: S.LambdaLR(o, lambda e: 1.0)),
        (schedules.step, lambda o: S.MultiStepLR(o, [12, 18], 0.1)),
        (schedules.cosine, lambda o: S.CosineAnnealingLR(o, 24)),
        (partial(schedules.exponential, end=0.5**24), lambda o: S.ExponentialLR(o, 0.5)),
        (partial(schedules.sgdr, cycles=4), lambda o: S.CosineAnnealingWarmRestarts(o, 6)),
        (
            partial(schedules.sgdr, cycles=3, multiply=2.0),
            lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2),
        ),
        (
            partial(schedules.cyclic, cycles=3, floor=0.2),
            lambda o: S.CyclicLR(o, 0.1, 0.5, 4, cycle_momentum=False),
        ),
    ],
)
def test_same_as_torch(ours, theirs):
    steps = 21 if getattr(ours, "keywords", {}).get("multiply") else 24
    mine = rates(lambda o: Scheduled(o, ours, steps), steps)
    assert mine == pytest.approx(rates(theirs, steps), rel=1e-9, abs=1e-12)


def test_one_cycle_is_torchs_and_cycles_momentum_too():
    # torch reaches the end at its last step, one before progress 1
    def theirs(o):
        return S.OneCycleLR(o, 0.5, total_steps=24, pct_start=8 / 24, final_div_factor=1e4)

    def ours(o):
        o.param_groups[0]["lr"] = 0.5
        factor = partial(schedules.one_cycle, peak=7 / 23, start=0.04, end=4e-6)
        return Scheduled(o, factor, 23, momentum=(0.85, 0.95))

    assert rates(ours)[1:] == pytest.approx(rates(theirs)[1:], rel=1e-9)
    low = rates(ours, momentum=True)
    assert min(low) == pytest.approx(0.85)
    assert low[-1] == pytest.approx(0.95, rel=1e-5)


@given(st.sampled_from(ALL), progress)
def test_factors_are_between_zero_and_one(schedule, at):
    assert 0 <= schedule(at) <= 1 + 1e-12


@given(st.sampled_from(ALL), st.floats(0.01, 0.99))
def test_warm_up_ends_where_the_schedule_begins(schedule, share):
    ramp = schedules.warm_up(schedule, share)
    assert ramp(0.0) == 0
    assert ramp(share) == schedule(0.0)
    assert ramp(1.0) == pytest.approx(schedule(1.0))
    assert ramp(share / 2) == pytest.approx(schedule(0.0) / 2)


def test_cycles_end_low_and_restart_high():
    ends = schedules.cycle_ends(3, 2.0)
    for end in ends:
        assert schedules.sgdr(end - 1e-9, 3, 2.0) < 1e-6
    assert [schedules.sgdr(end, 3, 2.0) for end in ends] == [1.0, 1.0, 0.0]


def test_a_stopped_schedule_goes_on():
    whole = rates(lambda o: Scheduled(o, schedules.cosine, 24))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    first = Scheduled(optimizer, schedules.cosine, 24)
    for _ in range(7):
        optimizer.step()
        first.step()
    saved = first.state_dict()
    assert "schedule" not in saved
    second = Scheduled(
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5), schedules.cosine, 24
    )
    second.load_state_dict(saved)
    second.optimizer.step()
    second.step()
    assert second.get_last_lr() == [whole[8]]


def test_betas_cycle_where_there_is_no_momentum():
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.5)
    Scheduled(optimizer, schedules.constant, 4, momentum=(0.8, 0.9))
    assert optimizer.param_groups[0]["betas"] == pytest.approx((0.8, 0.999))


def test_impossible_schedules_are_refused():
    optimizer = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)])
    with pytest.raises(UsageError, match="no momentum"):
        Scheduled(optimizer, schedules.cosine, 4, momentum=(0.8, 0.9))
    with pytest.raises(UsageError, match="0 steps"):
        Scheduled(Momentum([torch.zeros(1, requires_grad=True)]), schedules.cosine, 0)


def test_arithmetic_alone_does_not_import_torch():
    code = (
        "import sys, polyak.optim.rules, polyak.optim.schedules; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def stopped(steps, at):
    """A scheduler of `steps` steps at step `at`, and its optimizer."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5, momentum=0.9)
    scheduler = Scheduled(optimizer, schedules.cosine, steps, momentum=(0.8, 0.9))
    for _ in range(at):
        optimizer.step()
        scheduler.step()
    return scheduler


@pytest.mark.parametrize("order", ["optimizer first", "scheduler alone"])
def test_a_run_that_is_longer_now_goes_on_at_its_own_rates(order):
    ended, longer = stopped(10, at=10), stopped(20, at=0)
    assert ended.get_last_lr() == [0.0]
    if order == "optimizer first":
        longer.optimizer.load_state_dict(ended.optimizer.state_dict())
    longer.load_state_dict(ended.state_dict())
    assert longer.steps == 20
    assert longer.optimizer.param_groups[0]["lr"] == pytest.approx(0.25)  # half way down
    assert longer.optimizer.param_groups[0]["momentum"] == pytest.approx(0.85)
    assert longer.get_last_lr() == pytest.approx([0.25])
    longer.optimizer.step()
    longer.step()
    expected = stopped(20, at=11)
    assert longer.get_last_lr() == expected.get_last_lr()


def test_a_run_that_is_shorter_now_stays_at_its_end():
    shorter = stopped(5, at=0)
    shorter.load_state_dict(stopped(10, at=8).state_dict())
    shorter.optimizer.step()
    shorter.step()
    assert shorter.get_last_lr() == [0.0]


def test_a_rate_in_a_tensor_stays_one():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=torch.tensor(0.5))
    scheduler = Scheduled(optimizer, schedules.cosine, 20)
    rate = optimizer.param_groups[0]["lr"]
    scheduler.load_state_dict(stopped(10, at=10).state_dict())
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.25)


def test_a_scheduler_of_other_groups_is_refused():
    scheduler = stopped(10, at=3)
    scheduler.optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
    with pytest.raises(RefusedError, match="1 parameter groups, the optimizer 2"):
        scheduler.load_state_dict(stopped(10, at=3).state_dict())
