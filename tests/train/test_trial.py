"""Trials: whole runs on several splits where there is time, judged by pictures they did not see."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from polyak.errors import Stopped
from polyak.inference import log_probabilities
from polyak.train import job as jobs
from polyak.train.decide import decide
from polyak.train.distributed import World
from polyak.train.signals import Stop
from polyak.train.trial import Arm, Split
from polyak.transfer.choice import Row


class Clerk:
    """Stands for a learner: writes down what it is given, and takes its time."""

    def __init__(self, network, log, clock, pause, first):
        self.network, self.log, self.clock, self.pause = network, log, clock, pause
        self.first = first

    def step(self, batch, step, progress, whole):
        self.clock[0] += self.pause if self.log else self.first
        with torch.no_grad():  # as far off as possible: always the last class
            self.network.head.weight.zero_()
            self.network.head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 60.0]))
        self.log.append((id(self.network), step, progress, batch.images.shape[0]))


def linear():
    return nn.Sequential(OrderedDict(flat=nn.Flatten(), head=nn.Linear(3 * 16 * 16, 4)))


@pytest.fixture
def arm(job, monkeypatch):
    """An arm of three splits (of 12, 30 and 30 judges), and what its learners were given."""
    recipe = job(epochs=4)
    where = jobs.set_up(recipe, World())
    dataset, parts = jobs.open_data(recipe, where, World())
    recipe, _ = decide(recipe, dataset)
    _, _, page = jobs.make_network(recipe, parts["train"], where)
    train, log, clock = parts["train"], [], [0.0]
    monkeypatch.setattr("polyak.train.trial.time", SimpleNamespace(monotonic=lambda: clock[0]))
    held = [np.arange(0, 12), np.arange(12, 42), np.arange(42, 72)]
    splits = [
        Split(train.take(np.setdiff1d(np.arange(72), judges)), train.take(judges), judges,
              linear)
        for judges in held
    ]  # fmt: skip

    def make(pause, first=None):
        first = pause if first is None else first
        monkeypatch.setattr(
            jobs,
            "make_learner",
            lambda recipe, network, *_: Clerk(network, log, clock, pause, first),
        )
        return Arm(recipe, splits, train.dataset.labels, page, where, Stop()), log

    return make


def test_with_time_every_split_has_a_whole_run(arm):
    one, log = arm(0.0)
    row = one.go(60)
    assert one.done == 3 and row.n == 72
    runs = list(dict.fromkeys(network for network, *_ in log))
    assert len(runs) == 3  # each begins anew
    for run in runs:
        steps = [(step, progress) for network, step, progress, _ in log if network == run]
        assert [step for step, _ in steps] == list(range(len(steps)))
        assert steps[0][1] < 0.1 and steps[-1][1] > 0.8
    assert len(log) == 4 * (3 + 2 + 2)  # epochs of 60 and of 42 pictures, 16 a step
    again = one.go(60)
    assert again.n == 72 and len(log) == 28  # nothing is left to do
    assert row.share == again.share == 1.0


def test_without_time_the_first_run_is_short_and_goes_on(arm):
    one, log = arm(0.05)
    row = one.go(0.2)
    assert row.n == 12 and one.done == 0 and len(log) == 3
    assert log[-1][2] > 0.5  # the rate has fallen when it is judged
    assert row.share == 3 / 12  # steps, of four epochs of three
    before = len(log)
    again = one.go(0.2)
    assert log[before][0] == log[0][0] and one.epoch >= 2
    assert again.share == len(log) / 12 and again.as_json()["share"] == round(again.share, 3) < 1


def test_a_process_that_warms_up_in_its_first_step_is_not_given_up(arm):
    one, log = arm(0.01, first=0.11)
    row = one.go(0.2)
    assert len(log) == 9 and row.share == 9 / 12  # 0.11, then 0.01 each, and time to judge
    assert one.step_seconds == pytest.approx(0.01)


def test_the_judges_see_the_end_and_halfway_to_it_and_the_better_counts(arm):
    one, _ = arm(0.05)
    row = one.go(0.2)
    judges = one.splits[0].judge
    ended = log_probabilities(one.network, judges.images, one.page)[0]
    np.testing.assert_allclose(one.logs[0, :12], ended, atol=1e-5)  # and training goes on there
    end, halfway = -one.logs[:, np.arange(12), judges.dataset.labels].mean(1)
    assert end > 10 and 0.4 < halfway / end < 0.6
    ends = [Row.of("", logs, one.labels, 0.0).nll.value for logs in one.logs]
    assert ends[0] != ends[1] and row.nll.value == min(ends)


def test_half_a_run_on_another_split_is_not_begun(arm):
    one, log = arm(0.02)
    assert one.go(0.6).n == 42  # runs of 0.24 and 0.16 s
    assert one.go(0.12).n == 42 and len(log) == 20


def test_judges_are_never_learnt_from(arm):
    one, _ = arm(0.0)
    for split in one.splits:
        seen = {str(path) for path in split.train.dataset.paths}
        assert not seen & {str(path) for path in split.judge.dataset.paths}
        assert (one.labels[split.places] == split.judge.dataset.labels).all()


def test_a_stop_is_heard(arm):
    one, log = arm(0.0)
    one.stop.signal = 2
    with pytest.raises(Stopped) as stopped:
        one.go(5)
    assert stopped.value.exit_code == 130
    assert log == []  # before the first step
