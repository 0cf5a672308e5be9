"""The course that every optimizer runs: the same data, starting weights, batches and schedule."""

import copy
import math
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from polyak.data.loader import Loader
from polyak.data.parts import Splits
from polyak.errors import DataError, RefusedError
from polyak.inference import log_probabilities
from polyak.jobs.open import open_data, scan_data
from polyak.recipe.machine import Machine, set_up
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import resolve
from polyak.training.distributed import Process
from polyak.training.loop import fit
from polyak.training.network import Network
from polyak.training.pace import Clock, Pace
from polyak.training.session import Session
from polyak.training.signals import Stop
from polyak.training.step import TrainingStep
from polyak.training.timing import UNTIMED

VALIDATIONS = 8  # along a run
VALIDATED = 1000  # images of a validation along a run, at most
REHEARSED, REHEARSAL = 40, 6.0  # steps and seconds, at most, of a run that measures speed
MEASURED = 2000  # images that the final figure is taken from, at most


@dataclass
class Run:
    """What came of one run.

    Args:
        losses: training loss of every step taken.
        validations: (step, validation accuracy).
        nll: of the last validation, nats; infinite when diverged.
        right: bool (n,): which of the measured images; not one when diverged.
        diverged: the loss stopped being finite.
    """

    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    nll: float = math.inf
    right: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    diverged: bool = False


class Course:
    """Hold all that runs share, and run an optimizer over it.

    Args:
        recipe: what was asked; optimizer and learning rate are each run's own.

    Raises:
        DataError: the data cannot be raced on.
        UsageError: no such model, or a wrong choice.
    """

    def __init__(self, recipe: Recipe):
        self.asked: Recipe = recipe
        self.machine: Machine = set_up(recipe)
        self.data: Splits = open_data(recipe, scan_data(recipe), self.machine)
        if self.data.val is None:
            raise DataError("nothing is held out to validate on", where=recipe.data)
        self.measured_on = "test" if "test" in self.data.parts else "val"
        self._sessions: dict[str, Session] = {}
        self._starts: dict[int, tuple[Network, Loader]] = {}

    def session(self, optimizer: str) -> Session:
        """Resolve the recipe for an optimizer; all but it and its rate is the same for all."""
        if optimizer not in self._sessions:
            choice = self.asked.model_copy(update={"optimizer": optimizer})
            resolved = resolve(choice, self.data.dataset)
            clock = Clock(None, time.monotonic())
            self._sessions[optimizer] = Session(
                resolved, self.machine, Process(), self.data, clock, Stop()
            )
        return self._sessions[optimizer]

    def usual_rate(self, optimizer: str) -> float:
        """Learning rate that `polyak train` would begin with."""
        return self.session(optimizer).resolved.learning_rate

    def run(
        self, optimizer: str, rate: float, seed: int, steps: int, *, sweep: bool
    ) -> Generator[float, None, Run]:
        """Run an optimizer, yielding the share that is done after every step; return what came.

        Args:
            optimizer: name of an update rule.
            rate: peak of the learning rate.
            seed: of starting weights, batches and what is drawn in the forward pass.
            steps: how many; the schedule is stretched over them.
            sweep: whether only the rate is sought: one validation, no final measurement.
        """
        network, step = self._entrant(optimizer, rate, seed, steps)
        loader, found = self._starts[seed][1], Run()
        validations = 1 if sweep else min(VALIDATIONS, steps)
        due = {round(steps * (k + 1) / validations) for k in range(validations)}
        with closing(fit(step, loader, Pace(1 / steps))) as taking:
            for taken in taking:
                loss = taken.loss.item()
                if not math.isfinite(loss):
                    found.diverged, found.nll = True, math.inf
                    break
                found.losses.append(loss)
                if taken.step in due:
                    try:
                        right, nll = self._measure(network, "val", VALIDATED)
                    except RefusedError:  # a finite loss, and answers that are not
                        found.diverged, found.nll = True, math.inf
                        break
                    found.validations.append((taken.step, float(right.mean())))
                    found.nll = nll if math.isfinite(nll) else math.inf
                yield taken.step / steps
        if found.diverged:
            found.right = np.zeros(self.measured, bool)
        elif not sweep:
            found.right, _ = self._measure(network, self.measured_on, MEASURED)
        return found

    def seconds(self, optimizer: str, seed: int) -> tuple[float, float]:
        """Measure what a step and what the forward pass of one image takes, in seconds."""
        stamps = []
        with closing(self.run(optimizer, 1e-6, seed, REHEARSED, sweep=True)) as running:
            for _ in running:
                stamps.append(time.monotonic())
                if stamps[-1] - stamps[0] > REHEARSAL and len(stamps) > UNTIMED + 2:
                    break
        # the mean and not the median: loading ahead and a neighbour's pause take time too
        step = (stamps[-2] - stamps[UNTIMED]) / max(1, len(stamps) - UNTIMED - 2)
        began = time.monotonic()
        self._measure(self._starts[seed][0], "val", VALIDATED)
        return step, (time.monotonic() - began) / min(VALIDATED, len(self.data.parts["val"]))

    def images_measured(self, sweep: bool) -> int:
        """Count the images that a run is measured on, each time they are."""
        once = min(VALIDATED, len(self.data.parts["val"]))
        return once if sweep else VALIDATIONS * once + self.measured

    @property
    def measured(self) -> int:
        """How many images the final figures are taken from."""
        return min(MEASURED, len(self.data.parts[self.measured_on]))

    @property
    def epoch(self) -> int:
        """Steps that one pass over the training images takes."""
        return max(1, len(self.data.train) // self.session("sgd").resolved.batch_size)

    def _entrant(
        self, optimizer: str, rate: float, seed: int, steps: int
    ) -> tuple[Network, TrainingStep]:
        session = self.session(optimizer).decided(seed=seed)
        if seed not in self._starts:
            network = session.network()
            self._starts[seed] = network, session.loader(network)
        network = self._starts[seed][0]
        fresh = replace(network, module=copy.deepcopy(network.module))
        own = session.decided(learning_rate=rate, average=())
        return fresh, own.step(fresh, steps)

    def _measure(self, network: Network, split: str, most: int) -> tuple[np.ndarray, float]:
        """Which of up to `most` images, evenly taken, are right: bool (n,); and the mean NLL."""
        part = self.data.parts[split]
        chosen = np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int)
        labels = part.labels[chosen]
        log_probs, failed = log_probabilities(
            network.module,
            part.images.take(chosen),
            network.preprocessing,
            device=self.machine.device,
            threads=self.machine.threads.loader,
            precision=self.machine.precision.name,
        )
        read = np.setdiff1d(np.arange(len(labels)), [position for position, _ in failed])
        # an image that can no longer be read counts as wrong, for all alike
        kind = part.dataset.kind
        right = (kind.decide(log_probs) == labels) & ~np.isnan(log_probs).any(1)
        return right, kind.score(log_probs[read], labels[read])[1]
