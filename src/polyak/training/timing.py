"""How fast this machine trains: whole steps on a copy, before anything counts."""

import copy
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import cycle, islice, pairwise

from torch import Tensor

from polyak.data.loader import Batch, Loader
from polyak.networks.compact import REFERENCE, Compact
from polyak.training.loop import fit
from polyak.training.network import Network
from polyak.training.pace import Clock, Pace, Pacer, Standing
from polyak.training.session import Session
from polyak.training.step import TrainingStep
from polyak.training.training import VALIDATING
from polyak.training.validation import Validator

TIMED = 7  # steps
UNTIMED = 3  # steps that allocate, and compile the rule
LEAST = 2  # steps; the first one foretells nothing
TIMING = 0.05  # of what a budget has left, for finding out how fast a step is
ESTIMATING = 0.1  # of it, for batch-norm statistics at the end
EXPECTED = 1000  # steps that a step which is thrown away is told of


class _SameTwo:
    """Give the first two batches again and again, so that loading takes no time."""

    def __init__(self, loader: Loader):
        self.loader, self.images_per_step = loader, loader.images_per_step

    def __len__(self) -> int:
        return TIMED + UNTIMED

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        with closing(self.loader.epoch(0)) as batches:
            # two: a batch is only lent until two more were taken
            yield from cycle(list(islice(batches, 2)))


def step_seconds(step: TrainingStep, loader: Loader, most: float = float("inf")) -> float:
    """Time whole steps of a step that is thrown away: median seconds of one.

    Args:
        step: of a copy of the network.
        loader: the training batches.
        most: seconds after which it is enough; two steps are taken in any case.
    """
    stamps, began = [], time.monotonic()
    with closing(fit(step, _SameTwo(loader), Standing(TIMED + UNTIMED))) as steps:
        for taken in steps:
            taken.loss.item()  # waits for the device
            stamps.append(time.monotonic())
            if len(stamps) >= LEAST and stamps[-1] - began > most:
                break
    durations = [after - before for before, after in pairwise(stamps)]
    return statistics.median(durations[-TIMED:] if len(durations) > TIMED else durations[-LEAST:])


def fit_widths(session: Session) -> Session:
    """Choose compact's widths by the speed that this machine shows, where they are to be measured.

    All processes follow the leader's measurement.
    """
    if "widths" not in session.resolved.measured:
        return session
    network = session.network()
    loader = session.loader(network)
    trial = session.alone().step(network, EXPECTED)
    speed = loader.batch_size / step_seconds(trial, loader)
    speed = session.process.from_leader([speed])[0]
    widths = Compact.widths_for(speed, session.clock.left(), len(session.data.train))
    return session.decided(f"{speed:.0f} images/s here at widths {REFERENCE}", widths=widths)


def first_pace(
    session: Session,
    network: Network,
    loader: Loader,
    validator: Validator,
    teacher: Callable[[Tensor], Tensor] | None,
) -> Pacer:
    """Plan the number of steps: of the epochs asked for, or of what fits the budget."""
    resolved, clock = session.resolved, session.clock
    if resolved.epochs is not None:
        return Pacer(Pace(1 / max(1, round(resolved.epochs * len(loader)))))
    # alone: the other processes time their own, and the leader's word counts
    copied = network.with_module(copy.deepcopy(network.module))
    step = session.alone().step(copied, EXPECTED, teacher=teacher)
    seconds = step_seconds(step, loader, TIMING * clock.left())
    validator.time_images(network.module)
    if not (resolved.tuned and resolved.freeze_norms):
        validator.refresh_seconds = validator.image_seconds
        most = validator.affordable_refresh(ESTIMATING * clock.left())
        validator.most_refreshed = int(session.process.from_leader([float(most)])[0])
    foretell(clock, validator, seconds)
    times = validator.affordable(0.0, VALIDATING * clock.left(), clock.validation_seconds)
    validator.times = int(session.process.from_leader([times])[0])
    steps = session.process.from_leader([float(clock.steps_left(validator.left))])[0]
    return Pacer(Pace(1 / steps))


def foretell(clock: Clock, validator: Validator, seconds: float) -> None:
    """Tell the clock of a budget what steps, validations and the end are expected to take."""
    clock.note_step(seconds)
    held_out = len(validator.parts.get("val", ()))
    clock.validation_seconds = 2 * validator.image_seconds * held_out
    clock.finish_seconds = validator.finish_seconds()
