"""Trials: whole runs with other images held out each, where there is time, measured on those."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from polyak.errors import Stopped
from polyak.inference import log_probabilities
from polyak.jobs.command import Command
from polyak.jobs.open import open_session
from polyak.planning.trials import HoldOut, Trial
from polyak.training.distributed import Process
from polyak.training.session import Session
from polyak.training.signals import Stop
from polyak.transfer.ranking import Row


class Clerk:
    """Stands for a training step: writes down what it is given, and takes its time."""

    def __init__(self, network, log, clock, pause, first):
        self.network, self.log, self.clock, self.pause = network, log, clock, pause
        self.first = first

    def __call__(self, batch, step, progress, whole):
        self.clock[0] += self.pause if self.log else self.first
        with torch.no_grad():  # as far off as possible: always the last class
            self.network.head.weight.zero_()
            self.network.head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 60.0]))
        self.log.append((self.network, step, progress, batch.images.shape[0]))
        return torch.zeros(())


def linear():
    return nn.Sequential(OrderedDict(flat=nn.Flatten(), head=nn.Linear(3 * 16 * 16, 4)))


@pytest.fixture
def trial(job, monkeypatch):
    """A trial of three hold-outs (of 12, 30 and 30 images), and what its steps were given."""
    session = open_session(Command(job(epochs=4), Process(), Stop(), 0.0))
    network = session.network()
    train, log, clock = session.data.train, [], [0.0]
    monkeypatch.setattr("polyak.planning.trials.time", SimpleNamespace(monotonic=lambda: clock[0]))
    held = [np.arange(0, 12), np.arange(12, 42), np.arange(42, 72)]
    holdouts = [
        HoldOut(train.take(np.setdiff1d(np.arange(72), out)), train.take(out), out, linear)
        for out in held
    ]

    def make(pause, first=None):
        first = pause if first is None else first
        monkeypatch.setattr(
            Session, "step", lambda _, network, *__: Clerk(network.module, log, clock, pause, first)
        )
        return Trial(session, network, holdouts, train.labels), log

    return make


def test_with_time_every_holdout_has_a_whole_run(trial):
    one, log = trial(0.0)
    row = one.run(60)
    assert one.done == 3 and row.n == 72
    runs = list(dict.fromkeys(network for network, *_ in log))
    assert len(runs) == 3  # each begins anew
    for run in runs:
        steps = [(step, progress) for network, step, progress, _ in log if network is run]
        assert [step for step, _ in steps] == list(range(len(steps)))
        assert steps[0][1] < 0.1 and steps[-1][1] > 0.8
    assert len(log) == 4 * (3 + 2 + 2)  # epochs of 60 and of 42 images, 16 a step
    again = one.run(60)
    assert again.n == 72 and len(log) == 28  # nothing is left to do
    assert row.share == again.share == 1.0


def test_without_time_the_first_run_is_short_and_goes_on(trial):
    one, log = trial(0.05)
    row = one.run(0.2)
    assert row.n == 12 and one.done == 0 and len(log) == 3
    assert log[-1][2] > 0.5  # the rate has fallen when it is measured
    assert row.share == 3 / 12  # steps, of four epochs of three
    before = len(log)
    again = one.run(0.2)
    assert log[before][0] == log[0][0] and one.steps == len(log)
    assert [step for _, step, *_ in log] == list(range(len(log)))  # no batch is seen twice
    assert log[before][2] == 0.0  # the rate begins anew
    assert again.share == len(log) / 12 and again.as_json()["share"] == round(again.share, 3) < 1


def test_a_process_that_warms_up_in_its_first_step_is_not_given_up(trial):
    one, log = trial(0.01, first=0.11)
    row = one.run(0.2)
    assert len(log) == 9 and row.share == 9 / 12  # 0.11, then 0.01 each, and time to measure
    assert one.step_seconds == pytest.approx(0.01)


def test_the_end_and_halfway_to_it_are_measured_and_the_better_counts(trial):
    one, _ = trial(0.05)
    row = one.run(0.2)
    out = one.holdouts[0].held_out
    ended = log_probabilities(one.module, out.images, one.network.preprocessing)[0]
    np.testing.assert_allclose(one.log_probs[0, :12], ended, atol=1e-5)  # training goes on there
    end, halfway = -one.log_probs[:, np.arange(12), out.labels].mean(1)
    assert end > 10 and 0.4 < halfway / end < 0.6
    ends = [Row.of("", rows, one.labels, 0.0).nll.value for rows in one.log_probs]
    assert ends[0] != ends[1] and row.nll.value == min(ends)


def test_half_a_run_with_other_images_held_out_is_not_begun(trial):
    one, log = trial(0.02)
    assert one.run(0.6).n == 42  # runs of 0.24 and 0.16 s
    assert one.run(0.12).n == 42 and len(log) == 20


def test_what_measures_is_never_learnt_from(trial):
    one, _ = trial(0.0)
    for holdout in one.holdouts:
        seen = {str(path) for path in holdout.train.dataset.paths}
        assert not seen & {str(path) for path in holdout.held_out.dataset.paths}
        assert (one.labels[holdout.positions] == holdout.held_out.labels).all()


def test_a_stop_is_heard(trial):
    one, log = trial(0.0)
    one.session.stop.signal = 2
    with pytest.raises(Stopped) as stopped:
        one.run(5)
    assert stopped.value.exit_code == 130
    assert log == []  # before the first step
