"""What `polyak plan` and the planner of a run report on the way to a strategy of transfer."""

from dataclasses import dataclass
from typing import Any

from polyak.rundir.events import Event


@dataclass(frozen=True)
class CountsEvent(Event):
    """A plan begins.

    Args:
        classes: name -> images to train on.
    """

    kind = "counts"

    classes: dict[str, int]


@dataclass(frozen=True)
class ProbeEvent(Event):
    """A linear classifier was fitted on features.

    Args:
        strategy: the strategy of transfer that it is of; None where it is of one stage.
        stage: the one stage that it reads.
        l2: its strength of regularization.
        accuracy: cross-validated.
        nll: the same, nats.
        measure: what the figure called accuracy is: of several labels mAP.
    """

    kind = "probe"

    strategy: str | None = None
    stage: str | None = None
    l2: float | None = None
    accuracy: float | None = None
    nll: float | None = None
    measure: str = "accuracy"


@dataclass(frozen=True)
class BackboneEvent(Event):
    """A backbone was probed at one size of the images.

    Args:
        model: its name.
        size: side of the images, pixels.
        strategy: of the better of its probes.
        accuracy: of that, cross-validated.
        nll: the same, nats.
        milliseconds: of an image, features and probes; 0 where they were remembered.
        measure: what the figure called accuracy is: of several labels mAP.
    """

    kind = "backbone"

    model: str
    size: int
    strategy: str
    accuracy: float
    nll: float
    milliseconds: float
    measure: str = "accuracy"


@dataclass(frozen=True)
class CellEvent(Event):
    """The data was placed in the lecture's table of transfer learning.

    Args:
        amount: little or much.
        data: similar to the source, or different.
        why: in one line.
        strategy: what the lecture advises there.
    """

    kind = "cell"

    amount: str
    data: str
    why: str
    strategy: str


@dataclass(frozen=True)
class CurveEvent(Event):
    """A probe's accuracy over its number of images was measured.

    Args:
        points: {"each", "n", "accuracy", "spread"}, images a class rising.
    """

    kind = "curve"

    points: list[dict[str, float]]


@dataclass(frozen=True)
class RowEvent(Event):
    """A strategy of transfer was tried.

    Args:
        strategy: its name.
        accuracy: value, low, high.
        nll: the same, nats.
        seconds: of training.
        share: of a whole run.
        n: images that it was measured on.
        measure: what the figure called accuracy is: of several labels mAP.
    """

    kind = "row"

    strategy: str
    accuracy: dict[str, float]
    nll: dict[str, float]
    seconds: float
    share: float
    n: int
    measure: str = "accuracy"


@dataclass(frozen=True)
class PlanEvent(Event):
    """A strategy of transfer was chosen.

    Args:
        chosen: its name.
        why: in one line.
        accuracy: value, low, high that are expected; None where nothing was measured.
        seconds: that a whole run will take; None where not measured.
        lecture: what the lecture advises.
        notes: one line each.
        rows: of all strategies, as `RowEvent`.
        command: that does what was chosen.
    """

    kind = "plan"

    chosen: str
    why: str
    accuracy: dict[str, float] | None
    seconds: float | None
    lecture: str
    notes: list[str]
    rows: list[dict[str, Any]]
    command: str
