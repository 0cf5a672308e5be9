"""Trials of fine-tuning: short runs on parts of the training pictures, judged by the rest."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from polyak.ensemble import soup
from polyak.errors import RefusedError
from polyak.inference import log_probabilities
from polyak.networks.preprocessing import Preprocessing
from polyak.train import job
from polyak.train.distributed import World
from polyak.train.judge import copied
from polyak.train.recipe import Recipe
from polyak.train.signals import Stop
from polyak.transfer.choice import Row


@dataclass(frozen=True)
class Split:
    """A way to hold pictures out.

    Args:
        train: to learn from.
        judge: to be judged by.
        places: int (m,), where the judges stand among all judging pictures.
        network: makes the network that a trial starts from; knows nothing of the judges.
    """

    train: job.Data
    judge: job.Data
    places: np.ndarray
    network: Callable[[], nn.Module]


@dataclass
class Arm:
    """A fine-tuning in trial: one whole run after the other, each on another split.

    Args:
        recipe: as decided; its `epochs` are those of a whole run.
        splits: in the order of their turns.
        labels: int (n,), of all judging pictures.
        page: from picture to input.
        where: device, precision, threads.
        stop: the signal that was noted.
    """

    recipe: Recipe
    splits: Sequence[Split]
    labels: np.ndarray
    page: Preprocessing
    where: job.Machine
    stop: Stop
    seconds: float = 0.0
    step_seconds: float = 0.0
    done: int = 0  # whole runs
    epoch: int = 0  # of the present run
    network: nn.Module | None = None
    start: dict[str, Tensor] = field(default_factory=dict)  # of the present run
    taken: float = 0.0  # share of the first run
    logs: np.ndarray | None = None  # (2, n, K): of the weights at the end, and halfway to there
    longest: float = field(default=0.0, init=False)  # of the whole runs, seconds

    def go(self, seconds: float) -> Row:
        """Go on for so many seconds and measure: whole runs, or what there is time for.

        The first run may be shorter than a whole one, and goes on in the next turn. Another split
        is begun only if there is time for a whole run: half a run would judge something else.
        """
        began = time.monotonic()
        while self.done < len(self.splits):
            left = seconds - (time.monotonic() - began)
            if self.logs is not None and (left <= 0 or (self.done and left < self.longest)):
                break
            if not self._run(self.splits[self.done], left):
                break
        self.seconds += time.monotonic() - began
        assert self.logs is not None
        name, labels = self.recipe.transfer, self.labels
        ends = [Row.of(name, logs, labels, self.seconds, self.taken) for logs in self.logs]
        return min(ends, key=lambda row: row.nll.value)  # as a run in full chooses of the two

    def _run(self, split: Split, seconds: float) -> bool:
        """Train on one split until the run is whole or the time is up, and ask its judges; tell
        whether it is whole.
        """
        began = time.monotonic()
        if self.network is None:
            self.network, self.epoch = copy.deepcopy(split.network()), 0
            self.start = copied(self.network)
        whole = self._train(self.network, split, seconds)
        self._judge(self.network, split)
        if whole:
            self.network, self.done = None, self.done + 1
            self.longest = max(self.longest, time.monotonic() - began)
        return whole

    def _judge(self, network: nn.Module, split: Split) -> None:
        """Ask the judges of the weights as they are, and halfway to them."""
        ended = copied(network)
        for number, state in enumerate((ended, soup([self.start, ended]))):
            network.load_state_dict(state)
            how = {"device": self.where.device, "threads": self.where.threads.loader}
            try:
                logs, _ = log_probabilities(
                    network, split.judge.images, self.page, batch_size=16, **how
                )
            except RefusedError:  # it diverged: worth as much as knowing nothing
                classes = len(split.judge.dataset.classes)
                logs = np.full((len(split.judge), classes), -np.log(classes), np.float32)
            if self.logs is None:
                self.logs = np.full((2, len(self.labels), logs.shape[1]), np.nan, np.float32)
            self.logs[number, split.places] = logs
        network.load_state_dict(ended)

    def _train(self, network: nn.Module, split: Split, seconds: float) -> bool:
        """Take steps, the rate falling to where time or the run ends; tell whether it is whole."""
        began, world, recipe = time.monotonic(), World(), self.recipe
        loader = job.make_loader(recipe, split.train, self.page, self.where, world)
        learner = job.make_learner(recipe, network, self.where, world, 1000)
        steps = max(1, round(((recipe.epochs or 1) - self.epoch) * len(loader)))
        step, first, spent, most = 0, 0.0, 0.0, seconds
        while step < steps and (spent < most or not step):
            with closing(loader.epoch(self.epoch)) as epoch:
                for batch in epoch:
                    self.stop.check("nothing was begun")
                    learner.step(batch, step, min(1.0, max(step / steps, spent / most)),
                                 len(batch.indices))  # fmt: skip
                    step, spent = step + 1, time.monotonic() - began
                    first = first or spent  # a process's first step warms up, and foretells nothing
                    self.step_seconds = (spent - first) / (step - 1) if step > 1 else spent
                    if step > 1:
                        # what the judges will take: a third of a step for as many pictures
                        share = len(split.judge) / loader.batch_size / 3
                        most = seconds - self.step_seconds * (1 + share)
                    if step >= steps or spent >= most:
                        break
            self.epoch += 1
        if step >= steps:
            self.taken = 1.0
        elif not self.done:
            whole = (recipe.epochs or 1) * len(loader)
            self.taken = min(1.0, self.taken + step / whole)
        return step >= steps
