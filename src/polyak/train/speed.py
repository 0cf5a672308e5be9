"""How fast this machine trains: whole steps on a copy, before anything counts."""

import statistics
import time
from itertools import cycle, islice

from polyak.data.loader import Loader
from polyak.train.learner import Learner

UNTIMED = 3  # steps that allocate, and compile the rule


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
