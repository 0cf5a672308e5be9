"""The only loop of steps: batches in, a typed step out; whoever iterates decides what follows."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from polyak.data.loader import Batch
from polyak.training.pace import Pacing


class Batches(Protocol):
    """Give the batches of any epoch, such as a `Loader`."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch, beginning with number `start`."""
        ...

    @property
    def images_per_step(self) -> int:
        """Images of a whole batch, all processes together."""
        ...


class Step(Protocol):
    """Learn from one batch."""

    def __call__(self, batch: Batch, step: int, progress: float, whole: int) -> Tensor:
        """Return the batch's mean loss, a 0-dimensional tensor."""
        ...


@dataclass(frozen=True)
class StepTaken:
    """Tell of one step of the loop.

    Args:
        step: how many are taken now.
        epoch: the pass over the images that it belongs to, from 0.
        progress: of the run before it, in [0, 1].
        loss: of its batch, a 0-dimensional tensor; reading it waits for the device.
        indices: int64 (N,), positions of its images.
        images: of all processes together.
        waited: seconds for the batch.
        computed: seconds of forward, backward and update.
        work: seconds that loader threads spent on the batch: (decoding, rendering).
    """

    step: int
    epoch: int
    progress: float
    loss: Tensor
    indices: np.ndarray
    images: int
    waited: float
    computed: float
    work: tuple[float, float]

    @property
    def seconds(self) -> float:
        """Seconds from the end of the step before to the end of this one."""
        return self.waited + self.computed


def fit(
    step: Step, batches: Batches, pace: Pacing, begin: int = 0
) -> Generator[StepTaken, None, None]:
    """Take one step after the other until the pace is over; stop iterating to stop at once.

    Args:
        step: learns from a batch.
        batches: of any epoch; step k takes batch k % len(batches) of epoch k // len(batches).
        pace: progress as a function of the step; asked anew after every step.
        begin: steps that were taken before.

    Yields:
        Every step, after it was taken.

    >>> from polyak.data import Images, Loader
    >>> from polyak.augment import Policy
    >>> from polyak.training.pace import Pace
    >>> import torch
    >>> loader = Loader(Images.of(np.zeros((5, 8, 8, 3), np.uint8)), np.arange(5), Policy.centre(),
    ...                 size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1), batch_size=2, seed=0, threads=1)
    >>> steps = fit(lambda batch, *_: torch.zeros(()), loader, Pace(1 / 3))
    >>> [(taken.step, taken.epoch) for taken in steps]
    [(1, 0), (2, 0), (3, 1)]
    """
    done, whole = begin, batches.images_per_step
    while not pace.over(done):
        epoch, start = divmod(done, len(batches))
        with closing(batches.epoch(epoch, start)) as coming:
            began = time.monotonic()
            for batch in coming:
                ready, progress = time.monotonic(), pace.at(done)
                loss = step(batch, done, progress, whole)
                done += 1
                yield StepTaken(
                    done, epoch, progress, loss, batch.indices, whole, ready - began,
                    time.monotonic() - ready, batch.work,
                )  # fmt: skip
                if pace.over(done):
                    break
                began = time.monotonic()
