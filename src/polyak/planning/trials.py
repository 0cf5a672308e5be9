"""Trials of fine-tuning: short runs on a part of the training images, measured on the rest."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from polyak.data.parts import Part
from polyak.ensemble import copied, soup
from polyak.errors import RefusedError
from polyak.inference import log_probabilities
from polyak.training.loop import fit
from polyak.training.network import Network
from polyak.training.session import Session
from polyak.training.timing import EXPECTED
from polyak.transfer.ranking import Row


@dataclass(frozen=True)
class HoldOut:
    """Hold some images out of training.

    Args:
        train: to learn from.
        held_out: to be measured on.
        positions: int (m,), of the held-out ones among all images that measure.
        network: makes the network that a trial starts from; knows nothing of the held-out ones.
    """

    train: Part
    held_out: Part
    positions: np.ndarray
    network: Callable[[], nn.Module]


class TrialPace:
    """Follow a run that is over with its steps or with its time, whichever is first.

    The rate falls to where time or the run ends; one step is always taken.

    Args:
        begin: steps that were taken before.
        steps: to take.
        seconds: to take them in, measuring included.
        measuring: images to be measured, as a share of a batch.
    """

    def __init__(self, begin: int, steps: int, seconds: float, measuring: float):
        self.begin: int = begin
        self.steps: int = max(1, steps)
        self.seconds: float = seconds
        self.measuring = measuring
        self.began: float = time.monotonic()
        self.most: float = seconds
        self.first: float = 0.0
        self.spent: float = 0.0
        self.step_seconds: float = 0.0

    def at(self, step: int) -> float:
        """Progress after `step` steps."""
        taken = step - self.begin
        return min(1.0, max(taken / self.steps, self.spent / self.most if taken else 0.0))

    def over(self, step: int) -> bool:
        """Tell whether the steps or the time are used up."""
        taken = step - self.begin
        return taken >= self.steps or (taken > 0 and self.spent >= self.most)

    def note(self, step: int) -> None:
        """Learn from a step that was just taken how long one takes."""
        taken = step - self.begin
        self.spent = time.monotonic() - self.began
        if taken == 1:  # a process's first step warms up, and foretells nothing
            self.first = self.step_seconds = self.spent
            return
        self.step_seconds = (self.spent - self.first) / (taken - 1)
        # measuring takes a third of a step for as many images
        self.most = self.seconds - self.step_seconds * (1 + self.measuring / 3)


@dataclass
class Trial:
    """Try a fine-tuning: one whole run after the other, each with other images held out.

    Args:
        session: the context; its `epochs` are those of a whole run.
        network: the backbone, which says how images are prepared.
        holdouts: in the order of their turns.
        labels: int (n,), of all images that measure.
    """

    session: Session
    network: Network
    holdouts: Sequence[HoldOut]
    labels: np.ndarray
    seconds: float = 0.0
    step_seconds: float = 0.0
    done: int = 0  # whole runs
    steps: int = 0  # of the present run
    module: nn.Module | None = None
    start: dict[str, Tensor] = field(default_factory=dict)  # of the present run
    share: float = 0.0  # of the first run that was taken
    log_probs: np.ndarray | None = None  # (2, n, K): of the weights at the end, and halfway there
    longest: float = field(default=0.0, init=False)  # of the whole runs, seconds

    def run(self, seconds: float) -> Row:
        """Go on for so many seconds and measure: whole runs, or what there is time for.

        The first run may be shorter than a whole one, and goes on in the next turn. Other images
        are held out only if there is time for a whole run: half a run would measure something else.
        """
        began = time.monotonic()
        while self.done < len(self.holdouts):
            left = seconds - (time.monotonic() - began)
            if self.log_probs is not None and (left <= 0 or (self.done and left < self.longest)):
                break
            if not self._run(self.holdouts[self.done], left):
                break
        self.seconds += time.monotonic() - began
        assert self.log_probs is not None
        name, labels = self.session.resolved.transfer, self.labels
        ends = [Row.of(name, rows, labels, self.seconds, self.share) for rows in self.log_probs]
        return min(ends, key=lambda row: row.nll.value)  # as a run in full chooses of the two

    def _run(self, holdout: HoldOut, seconds: float) -> bool:
        """Train until the run is whole or the time is up, and measure; tell whether it is whole."""
        began = time.monotonic()
        if self.module is None:
            self.module, self.steps = copy.deepcopy(holdout.network()), 0
            self.start = copied(self.module)
        whole = self._train(self.module, holdout, seconds)
        self._measure(self.module, holdout)
        if whole:
            self.module, self.done = None, self.done + 1
            self.longest = max(self.longest, time.monotonic() - began)
        return whole

    def _measure(self, module: nn.Module, holdout: HoldOut) -> None:
        """Measure the weights as they are, and halfway to them."""
        ended, machine = copied(module), self.session.machine
        kind = holdout.held_out.dataset.kind
        for number, state in enumerate((ended, soup([self.start, ended]))):
            module.load_state_dict(state)
            try:
                found, _ = log_probabilities(
                    module, holdout.held_out.images, self.network.preprocessing,
                    kind=kind, device=machine.device, batch_size=16,
                    threads=machine.threads.loader,
                )  # fmt: skip
            except RefusedError:  # it diverged: worth as much as knowing nothing
                classes = len(self.session.data.classes)
                nothing = kind.log_probs(np.zeros((len(holdout.held_out), classes), np.float32))
                found = nothing.astype(np.float32)
            if self.log_probs is None:
                shape = 2, len(self.labels), found.shape[1]
                self.log_probs = np.full(shape, np.nan, np.float32)
            self.log_probs[number, holdout.positions] = found
        module.load_state_dict(ended)

    def _train(self, module: nn.Module, holdout: HoldOut, seconds: float) -> bool:
        """Take steps until the run is whole or the time is up; tell whether it is whole."""
        session, network = self.session.on(holdout.train), self.network.with_module(module)
        loader = session.loader(network)
        step = session.step(network, EXPECTED)
        whole = max(1, round((session.resolved.epochs or 1) * len(loader)))
        share = len(holdout.held_out) / loader.batch_size
        pace = TrialPace(self.steps, whole - self.steps, seconds, share)
        self._check()
        with closing(fit(step, loader, pace, self.steps)) as steps:
            for taken in steps:
                self._check()
                self.steps = taken.step
                pace.note(taken.step)
        self.step_seconds = pace.step_seconds
        if not self.done:
            self.share = min(1.0, self.steps / whole)
        return self.steps >= whole

    def _check(self) -> None:
        self.session.stop.check("nothing was begun")
