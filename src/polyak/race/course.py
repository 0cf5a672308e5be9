"""The course that every optimizer runs: the same data, starting weights, batches and schedule."""

import copy
import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from polyak import metrics
from polyak.data.loader import Loader
from polyak.errors import DataError
from polyak.inference import log_probabilities
from polyak.networks.preprocessing import Preprocessing
from polyak.train import job
from polyak.train.decide import decide
from polyak.train.distributed import World
from polyak.train.learner import Learner
from polyak.train.recipe import Recipe
from polyak.train.speed import UNTIMED

LOOKS = 8  # validations along a run
LOOKED_AT = 1000  # pictures of a validation along a run, at most
REHEARSED, REHEARSAL = 40, 6.0  # steps and seconds, at most, of a run that measures speed
MEASURED = 2000  # pictures that the final figure is taken from, at most


@dataclass
class Run:
    """What came of one run.

    Args:
        losses: training loss of every step taken.
        looks: (step, validation accuracy).
        nll: of the last validation, nats; infinite when diverged.
        right: bool (pictures,): which of the measured pictures; not one when diverged.
        diverged: the loss stopped being finite.
    """

    losses: list[float] = field(default_factory=list)
    looks: list[tuple[int, float]] = field(default_factory=list)
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
        self.asked, self.world = recipe, World()
        self.where = job.set_up(recipe, self.world)
        self.dataset, self.parts = job.open_data(recipe, self.where, self.world)
        if "val" not in self.parts:
            raise DataError("nothing is held out to validate on", where=recipe.data)
        self.measured_on = "test" if "test" in self.parts else "val"
        self._recipes: dict[str, Recipe] = {}
        self._starts: dict[int, tuple[nn.Module, Preprocessing, Loader]] = {}

    def recipe(self, optimizer: str) -> Recipe:
        """Decide the recipe of an optimizer; all but it and its rate is the same for every one."""
        if optimizer not in self._recipes:
            choice = self.asked.model_copy(update={"optimizer": optimizer})
            self._recipes[optimizer] = decide(choice, self.dataset)[0]
        return self._recipes[optimizer]

    def usual_rate(self, optimizer: str) -> float:
        """Learning rate that `polyak train` would begin with."""
        rate = self.recipe(optimizer).learning_rate
        assert isinstance(rate, float)  # `decide` leaves none open
        return rate

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
        learner, loader = self._entrant(optimizer, rate, seed, steps)
        page, found = self._starts[seed][1], Run()
        looks = 1 if sweep else min(LOOKS, steps)
        due = {round(steps * (k + 1) / looks) for k in range(looks)}
        whole = min(loader.batch_size, len(loader.labels))
        for step, batch in enumerate(batches(loader, steps)):
            loss = learner.step(batch, step, step / steps, whole).item()
            if not math.isfinite(loss):
                found.diverged, found.nll = True, math.inf
                break
            found.losses.append(loss)
            if step + 1 in due:
                right, nll = self._look(learner.network, page, "val", LOOKED_AT)
                found.looks.append((step + 1, float(right.mean())))
                found.nll = nll if math.isfinite(nll) else math.inf
            yield (step + 1) / steps
        if found.diverged:
            found.right = np.zeros(self.measured, bool)
        elif not sweep:
            found.right, _ = self._look(learner.network, page, self.measured_on, MEASURED)
        return found

    def seconds(self, optimizer: str, seed: int) -> tuple[float, float]:
        """Measure what a step and what the forward pass of one picture takes, in seconds."""
        stamps = []
        with closing(self.run(optimizer, 1e-6, seed, REHEARSED, sweep=True)) as running:
            for _ in running:
                stamps.append(time.monotonic())
                if stamps[-1] - stamps[0] > REHEARSAL and len(stamps) > UNTIMED + 2:
                    break
        # the mean and not the median: loading ahead and a neighbour's pause take time too
        step = (stamps[-2] - stamps[UNTIMED]) / max(1, len(stamps) - UNTIMED - 2)
        network, page, _ = self._starts[seed]
        began = time.monotonic()
        self._look(network, page, "val", LOOKED_AT)
        return step, (time.monotonic() - began) / min(LOOKED_AT, len(self.parts["val"]))

    def looked_at(self, sweep: bool) -> int:
        """Count the pictures that a run looks at besides training."""
        once = min(LOOKED_AT, len(self.parts["val"]))
        return once if sweep else LOOKS * once + self.measured

    @property
    def measured(self) -> int:
        """How many pictures the final figures are taken from."""
        return min(MEASURED, len(self.parts[self.measured_on]))

    @property
    def epoch(self) -> int:
        """Steps that one pass over the training pictures takes."""
        batch = self.recipe("sgd").batch_size or 1
        return max(1, len(self.parts["train"]) // batch)

    def _entrant(self, optimizer, rate, seed, steps) -> tuple[Learner, Loader]:
        if seed not in self._starts:
            recipe = self.recipe(optimizer).model_copy(update={"seed": seed})
            train = self.parts["train"]
            network, _, page = job.make_network(recipe, train, self.where)
            loader = job.make_loader(recipe, train, page, self.where, self.world)
            self._starts[seed] = network, page, loader
        network, _, loader = self._starts[seed]
        own = {"learning_rate": rate, "seed": seed, "average": ()}
        recipe = self.recipe(optimizer).model_copy(update=own)
        fresh = copy.deepcopy(network)
        return job.make_learner(recipe, fresh, self.where, self.world, steps), loader

    def _look(self, network, page, split, most) -> tuple[np.ndarray, float]:
        """Which of up to `most` pictures, evenly taken, are right: bool (n,); and the mean NLL."""
        part = self.parts[split]
        chosen = np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int)
        labels = part.dataset.labels[chosen]
        logs, failed = log_probabilities(
            network,
            part.images.take(chosen),
            page,
            device=self.where.device,
            threads=self.where.threads.loader,
            precision=self.where.precision.name,
        )
        read = np.setdiff1d(np.arange(len(labels)), [position for position, _ in failed])
        # an image that can no longer be read counts as wrong, for all alike
        right = (logs.argmax(1) == labels) & ~np.isnan(logs).any(1)
        return right, metrics.nll(logs[read], labels[read])


def batches(loader: Loader, steps: int) -> Iterator:
    """Give so many batches, epoch after epoch."""
    left, epoch = steps, 0
    while left > 0:
        taken = loader.epoch(epoch)
        try:
            for batch in taken:
                yield batch
                left -= 1
                if not left:
                    return
        finally:
            taken.close()
        epoch += 1
