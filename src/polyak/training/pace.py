"""Progress of a run as a function of its step; under a budget the clock may bend it."""

import math
import statistics
import time
from dataclasses import astuple, dataclass
from typing import Any, Protocol


class Pacing(Protocol):
    """Say how far a run is after so many steps, and when it is over."""

    def at(self, step: int) -> float:
        """Progress in [0, 1] after `step` steps."""
        ...

    def over(self, step: int) -> bool:
        """Whether there is no step after `step` steps."""
        ...


@dataclass(frozen=True)
class Pace:
    """Map steps to progress in [0, 1]: linear since the last plan.

    >>> pace = Pace(rate=1 / 4)
    >>> [pace.at(step) for step in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    >>> slower = pace.replanned(2, steps_left=4)
    >>> slower.at(2), slower.at(4), slower.over(5), slower.over(6)
    (0.5, 0.75, False, True)
    """

    rate: float
    step: int = 0
    progress: float = 0.0

    def at(self, step: int) -> float:
        """Progress after `step` steps."""
        return min(1.0, self.progress + (step - self.step) * self.rate)

    def over(self, step: int) -> bool:
        """Tell whether the run is over after `step` steps, whatever was rounded."""
        return self.progress + (step - self.step) * self.rate > 1 - self.rate / 2

    def replanned(self, step: int, steps_left: int) -> "Pace":
        """Spread what is left of the progress evenly over `steps_left` more steps."""
        return Pace((1 - self.at(step)) / max(1, steps_left), step, self.at(step))


@dataclass(frozen=True)
class Sweep:
    """Take some steps from progress 0 to progress 1, both included.

    >>> sweep = Sweep(3)
    >>> [sweep.at(step) for step in range(3)], sweep.over(2), sweep.over(3)
    ([0.0, 0.5, 1.0], False, True)
    """

    steps: int

    def at(self, step: int) -> float:
        """Progress after `step` steps."""
        return step / max(self.steps - 1, 1)

    def over(self, step: int) -> bool:
        """Tell whether all steps are taken."""
        return step >= self.steps


@dataclass(frozen=True)
class Standing:
    """Take some steps and make no progress: for timing.

    >>> Standing(2).at(1), Standing(2).over(2)
    (0.0, True)
    """

    steps: int

    def at(self, step: int) -> float:
        """Progress, which is none."""
        return 0.0

    def over(self, step: int) -> bool:
        """Tell whether all steps are taken."""
        return step >= self.steps


class Pacer:
    """Hold the pace of a run, which its clock may bend between two steps.

    Args:
        pace: as planned at first.

    >>> pacer = Pacer(Pace(1 / 4))
    >>> pacer.replan(2, steps_left=4)
    >>> pacer.at(4), pacer.first.at(4), pacer.steps_left(4)
    (0.75, 1.0, 2.0)
    """

    def __init__(self, pace: Pace):
        self.first: Pace = pace
        self.pace: Pace = pace

    def at(self, step: int) -> float:
        """Progress after `step` steps."""
        return self.pace.at(step)

    def over(self, step: int) -> bool:
        """Tell whether the run is over after `step` steps."""
        return self.pace.over(step)

    def steps_left(self, step: int) -> float:
        """Count the steps that are planned after `step`."""
        return (1 - self.pace.at(step)) / self.pace.rate

    def replan(self, step: int, steps_left: int) -> None:
        """Spread what is left of the progress evenly over `steps_left` more steps."""
        self.pace = self.pace.replanned(step, steps_left)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"pace": astuple(self.pace), "first_pace": astuple(self.first)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the pace that was last."""
        self.pace = Pace(*state["pace"])
        self.first = Pace(*state["first_pace"])


class Clock:
    """Watch the wall clock of a budget and say how many steps are still affordable.

    Args:
        budget: seconds for the whole command, or None.
        began: `time.monotonic()` when the command began.
    """

    def __init__(self, budget: float | None, began: float):
        self.budget: float | None = budget
        self.began: float = began
        self.spent: float = 0.0  # by this run before it was resumed
        self.step_seconds: list[float] = []
        self.validation_seconds: float = 0.0
        self.finish_seconds: float = 0.0

    def elapsed(self) -> float:
        """Seconds of this run's life, all its processes together."""
        return self.spent + time.monotonic() - self.began

    def left(self) -> float:
        """Seconds that the budget has left; infinite without one."""
        return math.inf if self.budget is None else self.budget - self.elapsed()

    def note_step(self, duration: float) -> None:
        """Remember how long a step took, data wait included; the last 100 count."""
        self.step_seconds.append(duration)
        del self.step_seconds[:-100]

    def state_dict(self) -> dict[str, Any]:
        """Give what a resumed run must know: the seconds spent, and what things cost."""
        return {
            "spent": self.elapsed(),
            "step_seconds": list(self.step_seconds),
            "validation_seconds": self.validation_seconds,
            "finish_seconds": self.finish_seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the seconds that were left."""
        for name, value in state.items():
            setattr(self, name, value)

    def steps_left(self, validations_left: int) -> int:
        """How many more steps fit before the end must be prepared."""
        assert self.budget is not None
        later = validations_left * self.validation_seconds + self.finish_seconds
        # the mean and not the median: a checkpoint's or a neighbour's pause takes time too
        pace = statistics.fmean(self.step_seconds)
        return max(1, int((self.budget - self.elapsed() - later) / pace))
