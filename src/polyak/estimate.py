"""How long what has begun will take: said once, where it is more than a minute."""

import time
from collections.abc import Callable

from polyak.errors import counted
from polyak.rundir.events import Event, FeaturesEvent, StepEvent

LONG = 60.0  # seconds that are worth a line
SURE = 4.0  # seconds after which progress foretells the rest


class Estimate:
    """Foretell from the first seconds of features, or of training, when they will be done.

    Args:
        clock: seconds.

    >>> seconds = iter([0.0, 5.0])
    >>> estimate = Estimate(lambda: next(seconds))
    >>> estimate.lines(FeaturesEvent(0, 1000)), estimate.lines(FeaturesEvent(50, 1000))
    ([], ['about 1.6 minutes: 50 of 1,000 images took 5 s'])
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock: Callable[[], float] = clock
        self.began: dict[str, tuple[float, float]] = {}
        self.reported: set[str] = set()

    def lines(self, event: Event) -> list[str]:
        """Say how long it will take, where that is known by now, long, and not said yet."""
        share = _share(event)
        if share is None:
            return []
        if isinstance(event, FeaturesEvent) and share == 1:  # the next ones are others
            self.began.pop(event.kind, None)
            return []
        if event.kind in self.reported:
            return []
        now = self.clock()
        start, before = self.began.setdefault(event.kind, (now, share))
        spent, done = now - start, share - before
        if spent < SURE or done <= 0:
            return []
        left = spent / done * (1 - share)
        if left + spent < LONG:
            return []
        self.reported.add(event.kind)
        return [f"about {left / 60:.1f} minutes: {_done(event, done)} took {spent:.0f} s"]


def _share(event: Event) -> float | None:
    if isinstance(event, FeaturesEvent):
        return event.done / event.of
    return event.progress if isinstance(event, StepEvent) else None


def _done(event: Event, share: float) -> str:
    if isinstance(event, FeaturesEvent):
        return f"{event.done:,} of {counted(event.of, 'image', ',')}"
    return f"{share:.1%} of the training"
