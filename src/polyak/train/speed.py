"""How fast this machine trains: whole steps on a copy, before anything counts."""

import statistics
import time
from itertools import cycle, islice

from polyak.data.loader import Loader
from polyak.networks.compact import REFERENCE, Compact
from polyak.train import job
from polyak.train.distributed import World
from polyak.train.learner import Learner
from polyak.train.recipe import Recipe

UNTIMED = 3  # steps that allocate, and compile the rule


def fit_widths(
    recipe: Recipe, train: job.Data, where: job.Machine, world: World, seconds: float
) -> tuple[tuple[int, ...], str]:
    """Choose compact's widths by the speed that this machine shows.

    Args:
        recipe: decided, but for the widths.
        train: pictures to train on.
        where: device, precision, threads.
        world: all processes follow the leader's measurement.
        seconds: that training may take.

    Returns:
        (channels of each stage, the reason).
    """
    reference = recipe.model_copy(update={"widths": REFERENCE})
    network, _, page = job.make_network(reference, train, where)
    loader = job.make_loader(reference, train, page, where, world)
    trial = job.make_learner(reference, network, where, World(), 1000)
    speed = world.from_leader([loader.batch_size / step_seconds(trial, loader)])[0]
    widths = Compact.widths_for(speed, seconds, len(train))
    return widths, f"{speed:.0f} images/s here at widths {REFERENCE}"


def step_seconds(trial: Learner, loader: Loader, times: int = 7) -> float:
    """Time whole steps of a learner that is thrown away afterwards: median seconds of one.

    Args:
        trial: a learner of a copy of the network.
        loader: the training batches.
        times: steps that are timed.
    """
    epoch = loader.epoch(0)
    try:
        batches = list(islice(epoch, 2))  # two: a batch is only lent until two more were taken
        durations = []
        for step, batch in enumerate(islice(cycle(batches), times + UNTIMED)):
            began = time.monotonic()
            trial.step(batch, step, 0.0, len(batch.indices) * trial.world.size).item()
            durations.append(time.monotonic() - began)
    finally:
        epoch.close()
    return statistics.median(durations[UNTIMED:])
