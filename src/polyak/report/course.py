"""What the schedule did in a run, by epochs; the schedule itself says, not the validations."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from polyak.errors import UsageError
from polyak.optim.schedules import named, named_ends
from polyak.report.gather import Facts

POINTS = 1000  # of a drawn schedule: jumps look upright
MOST_CYCLES = 1000  # what config.yaml says is not ours
_COLUMNS = ("progress", "epoch")


class _Shape(NamedTuple):
    """What shapes a schedule, in the order that `named` takes it in."""

    cycles: int
    growth: float
    peak: float
    ramp: float


def rates(facts: Facts) -> tuple[np.ndarray, np.ndarray] | None:
    """Follow the learning rate to the last validation: epochs and rates, each float64 (n,).

    A tuned stage goes by a fixed share of it. None where config.yaml does not say how it went.
    """
    config, peak = facts.config, facts.config.get("learning_rate")
    shape, to_epochs = _shape(config), _epochs(facts)
    if shape is None or to_epochs is None or not isinstance(peak, int | float):
        return None
    try:
        schedule = named(str(config.get("schedule")), *shape)
        progress = np.linspace(0, _reached(facts), POINTS)
        factors = np.array([schedule(one) for one in progress.tolist()])
    except (UsageError, ArithmeticError):
        return None
    return to_epochs(progress), peak * factors


def snapshots(facts: Facts) -> list[float]:
    """Give the epochs at which a run took its snapshots or branches, so far."""
    config = facts.config
    shape, to_epochs = _shape(config), _epochs(facts)
    if (
        config.get("ensemble") not in ("snapshots", "branches")
        or shape is None
        or to_epochs is None
    ):
        return []
    try:
        ends = named_ends(str(config.get("schedule")), shape.cycles, shape.growth, shape.ramp)
    except ArithmeticError:
        return []
    return to_epochs([end for end in ends if end <= _reached(facts) + 1e-6]).tolist()


def _shape(config: dict[str, Any]) -> _Shape | None:
    """Read what shapes the schedule of a run; None where config.yaml says what cannot be."""
    try:
        cycles = int(config.get("cycles") or 0)
        growth, peak = (float(config.get(f"cycle_{name}") or 1) for name in ("growth", "peak"))
        ramp = float(config.get("warm_up") or 0)
    except (TypeError, ValueError):
        return None
    sane = 0 <= cycles <= MOST_CYCLES and 0 < growth <= 10 and 0 < peak <= 1 and 0 <= ramp < 1
    return _Shape(cycles, growth, peak, ramp) if sane else None


def _epochs(facts: Facts) -> Callable[..., np.ndarray] | None:
    """Make the way from progress to epochs: straight between validations, for clocks bend it."""
    rows = facts.validations
    try:
        known, epochs = ([0.0, *(float(row[name]) for row in rows)] for name in _COLUMNS)
    except (KeyError, TypeError, ValueError):
        return None
    return (lambda progress: np.interp(progress, known, epochs)) if rows else None


def _reached(facts: Facts) -> float:
    return min(1.0, float(facts.validations[-1]["progress"]))
