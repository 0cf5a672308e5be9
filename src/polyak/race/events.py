"""What a race reports as it goes."""

from dataclasses import dataclass
from typing import Any

from polyak.rundir.events import Event


@dataclass(frozen=True)
class RaceStartEvent(Event):
    """A race begins.

    Args:
        found: files of the source.
        left_out: of these, files that cannot be used.
        counts: images by split.
        classes: how many.
        model: name of the network.
        batch_size: images a step.
        warnings: one line each.
        plan: who runs, how often and how long.
    """

    kind = "start"

    found: int
    left_out: int
    counts: dict[str, int]
    classes: int
    model: str
    batch_size: int
    warnings: list[str]
    plan: Any


@dataclass(frozen=True)
class RaceStepEvent(Event):
    """A step of some run was taken.

    Args:
        progress: of the whole race, in [0, 1].
        run: which run it was of, in words.
    """

    kind = "step"

    progress: float
    run: str


@dataclass(frozen=True)
class TriedEvent(Event):
    """A learning rate was tried.

    Args:
        optimizer: name of the update rule.
        learning_rate: its peak.
        nll: of the last validation, nats; None where it diverged.
        accuracy: the same.
    """

    kind = "sweep"

    optimizer: str
    learning_rate: float
    nll: float | None
    accuracy: float | None


@dataclass(frozen=True)
class RacedEvent(Event):
    """An optimizer has run with one seed.

    Args:
        seed: of starting weights and batches.
        optimizer: name of the update rule.
        accuracy: on the measured images.
        diverged: whether its loss stopped being finite.
    """

    kind = "run"

    seed: int
    optimizer: str
    accuracy: float
    diverged: bool
