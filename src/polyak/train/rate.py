"""`--learning-rate auto`: a range test on a copy of the network, before anything counts."""

import copy
import time
from collections.abc import Generator
from itertools import count

from torch import nn

from polyak.data.loader import Batch, Loader
from polyak.optim import range_test
from polyak.optim.rate_sweep import Range
from polyak.train import job
from polyak.train.decide import default_rate
from polyak.train.distributed import World
from polyak.train.learner import Learner
from polyak.train.recipe import Recipe
from polyak.train.speed import step_seconds

LOWEST, HIGHEST = 1e-5, 10.0  # rates to sweep through
STEPS = 100  # of the sweep
FEWEST = 30  # a sweep in fewer jumps over the good rates
SHARE = 0.1  # of what a budget has left, at most


def with_rate(
    recipe: Recipe,
    reasons: dict[str, str],
    network: nn.Module,
    loader: Loader,
    where: job.Machine,
    world: World,
    began: float,
) -> tuple[Recipe, Range]:
    """Put the rate that a range test finds into a recipe, and the reason into `reasons`.

    Args:
        recipe: decided, but for the learning rate.
        reasons: of the decisions, by name; gets one more.
        network: as training will begin with; it is left alone.
        loader: the training batches.
        where: device, precision, threads.
        world: all processes follow the leader's sweep.
        began: `time.monotonic()` when the command began, for the budget.

    Returns:
        (the recipe with its rate, what the sweep saw).

    Raises:
        DivergedError: no rate lets the loss fall.
    """
    start, _ = default_rate(recipe)
    alone = recipe.model_copy(update={"learning_rate": start, "average": (0.0,)})

    def trial():
        return job.make_learner(alone, copy.deepcopy(network), where, World(), 1)

    steps = STEPS
    if recipe.budget_seconds is not None:
        left = SHARE * (recipe.budget_seconds - (time.monotonic() - began))
        steps = min(STEPS, max(FEWEST, int(left / step_seconds(trial(), loader))))
    learner = trial()
    # the sweep names the rate of the fastest group; groups keep their ratios
    ratio = max(learner.peaks) / start
    sweep = run(learner, loader, steps, ratio)
    found = sweep.suggestion / ratio
    rate = float(f"{world.from_leader([found])[0]:.2g}")
    lowest = min(sweep.smooth)
    reasons["learning_rate"] = (
        f"range test of {steps} steps: a quarter of the rate of the lowest loss, {lowest:.2f}; "
        "learning_rate.svg"
    )
    return recipe.model_copy(update={"learning_rate": rate}), sweep


def run(trial: Learner, loader: Loader, steps: int, ratio: float) -> Range:
    """Sweep the rate of a learner that is thrown away afterwards.

    Args:
        trial: the learner.
        loader: the training batches.
        steps: of the sweep.
        ratio: of the fastest group's rate to the rate that people name.
    """
    rates = LOWEST * ratio, HIGHEST * ratio
    batches, step = _endless(loader), count()

    def closure():
        batch = next(batches)
        return trial.backward(batch, next(step), len(batch.indices))

    try:
        return range_test(trial.network, trial.optimizer, closure, rates=rates, steps=steps)
    finally:
        batches.close()


def _endless(loader: Loader) -> Generator[Batch, None, None]:
    for epoch in count():
        yield from loader.epoch(epoch)
