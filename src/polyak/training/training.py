"""A run in training: what happens between two steps of the loop; saved, validated, stopped."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np
from torch import Tensor

from polyak.data.loader import Loader
from polyak.errors import DivergedError, shown
from polyak.rundir import checkpoints
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import Event, FeaturesEvent, StepEvent, ValidationEvent
from polyak.training.loop import StepTaken, fit
from polyak.training.pace import Pacer
from polyak.training.session import Session
from polyak.training.step import TrainingStep
from polyak.training.validation import Validator

SMALL = 16  # images of a pass without gradients: maps of more do not fit a processor's caches
PLAN_EVERY = 0.02  # of the budget: how often the clock may bend the pace
VALIDATING = 0.1  # of what a budget has left: the most for validations on the way
PLAN_SLACK = 0.005  # deviations below this share of the remaining steps are noise


@dataclass
class TimeSpent:
    """Add up where the time of steps went: by the clock of this process, and on loader threads.

    Args:
        wait: seconds in which the step waited for its batch.
        compute: seconds of forward, backward and the rule.
        decode: of all loader threads together, while the step computed or waited.
        render: the same.
        images: of all processes.

    >>> spent = TimeSpent(wait=0.5, compute=1.5, images=8); spent.rates()
    {'images_per_second': 4.0, 'wait_share': 0.25}
    """

    wait: float = 0.0
    compute: float = 0.0
    decode: float = 0.0
    render: float = 0.0
    images: int = 0

    def add(self, taken: StepTaken) -> None:
        """Add one step, and what decoding and rendering its batch took."""
        decode, render = taken.work
        self.wait, self.compute = self.wait + taken.waited, self.compute + taken.computed
        self.decode, self.render = self.decode + decode, self.render + render
        self.images += taken.images

    def rates(self) -> dict[str, float]:
        """Images a second, and the share of the time that was waiting for data."""
        seconds = max(1e-9, self.wait + self.compute)
        return {
            "images_per_second": round(self.images / seconds, 1),
            "wait_share": round(self.wait / seconds, 5),
        }

    def seconds(self) -> dict[str, float]:
        """Seconds by kind of work.

        >>> TimeSpent(wait=0.5, compute=1.25).seconds()
        {'wait': 0.5, 'compute': 1.25, 'decode': 0.0, 'render': 0.0}
        """
        kinds = [one.name for one in fields(self) if one.name != "images"]
        return {name: round(getattr(self, name), 3) for name in kinds}


@dataclass
class MeanLoss:
    """Average the loss over steps, each read one step late: a GPU computes on meanwhile.

    >>> import torch
    >>> losses = MeanLoss(); losses.add(torch.tensor(2.0)); losses.value
    nan
    >>> losses.add(torch.tensor(4.0)), losses.value, losses.read(), losses.value
    (2.0, 2.0, 4.0, 3.0)
    """

    total: float = 0.0
    count: int = 0
    pending: Tensor | None = field(default=None, repr=False)
    value: float = float("nan")  # until a first loss is known

    def add(self, loss: Tensor) -> float | None:
        """Note the loss of a step; return the one before, which is read now."""
        before = self.read()
        self.pending = loss
        return before

    def read(self) -> float | None:
        """Read the loss that is pending, if one is."""
        if self.pending is None:
            return None
        loss, self.pending = self.pending.item(), None
        self.total, self.count = self.total + loss, self.count + 1
        self.value = self.total / self.count
        return loss

    def mean(self) -> float:
        """Give the mean since the last `restart`."""
        return self.total / max(1, self.count)

    def restart(self) -> None:
        """Begin a new mean; `value` stays until a new loss is read."""
        self.total, self.count = 0.0, 0


class Training:
    """Take the steps of a run and tell of each.

    Args:
        session: the context.
        step: what learns.
        loader: the training batches.
        validator: validates raw and averaged weights, keeps the best.
        pacer: progress as a function of the step.
        run: the run directory; None on processes that do not lead.
    """

    def __init__(
        self,
        session: Session,
        step: TrainingStep,
        loader: Loader,
        validator: Validator,
        pacer: Pacer,
        run: RunDirectory | None,
    ):
        self.session: Session = session
        self.step: TrainingStep = step
        self.loader: Loader = loader
        self.validator: Validator = validator
        self.pacer: Pacer = pacer
        self.run: RunDirectory | None = run
        self.done: int = 0  # steps
        self.warnings: list[str] = []  # of checkpoints that could not be used
        self.losses: MeanLoss = MeanLoss()
        self.spent: TimeSpent = TimeSpent()  # since the last validation
        self.total: TimeSpent = TimeSpent()  # since the first step
        self._indices: np.ndarray | None = None  # of the step whose loss is pending
        self._saved = self._planned = time.monotonic()

    def events(self) -> Iterator[Event]:
        """Train to the end of the pace.

        Raises:
            DivergedError: a loss that is not finite.
            Stopped: a signal came; the state is saved.
        """
        yield from self._remember()
        yield from self._validate_if_due()  # a checkpoint may lie between a step and its validation
        with closing(fit(self.step, self.loader, self, self.done)) as steps:
            for taken in steps:
                began = time.monotonic()
                self._note(taken)
                yield StepEvent(taken.step, taken.epoch, taken.progress, self.losses.value)
                self._between_steps(taken.seconds + time.monotonic() - began)
                yield from self._validate_if_due()
        self._read_loss()
        self.save()

    def at(self, step: int) -> float:
        """Progress after `step` steps."""
        return self.pacer.at(step)

    def over(self, step: int) -> bool:
        """Whether all steps are taken, or validation sees no more progress."""
        return self.pacer.over(step) or self.validator.patience_is_over

    def _remember(self) -> Iterator[Event]:
        """Let what is frozen see each image once, where nothing random will change it."""
        memory, of = self.step.memory, len(self.loader.labels)
        if memory is None or not memory.limit:
            return
        kept = self._kept() or "nothing was begun"
        with closing(self.loader.in_order(SMALL).epoch(0)) as images:
            for done in memory.fill(images):
                self.session.stop.check(kept)
                yield FeaturesEvent(done, of)

    def _note(self, taken: StepTaken) -> None:
        self._read_loss(taken)
        self.done = taken.step
        for spent in (self.spent, self.total):
            spent.add(taken)

    def _read_loss(self, taken: StepTaken | None = None) -> None:
        """Read the loss of the step before, and check it; note the one of this step."""
        loss = self.losses.add(taken.loss) if taken else self.losses.read()
        indices, self._indices = self._indices, taken.indices if taken else None
        if loss is None or np.isfinite(loss) or indices is None:
            return
        files = [shown(self.loader.images.source.keys[i]) for i in indices[:4]]
        raise DivergedError(
            "the loss is not finite",
            where=f"step {self.done}",
            why=f"{loss} on the batch of {', '.join(files)}, ...",
            kept=self._kept(),
            then="lower --learning-rate",
        )

    def _kept(self) -> str:
        saved = self.run is not None and bool(checkpoints.found(self.run.checkpoints))
        return "the last checkpoint" if saved else ""

    def _between_steps(self, duration: float) -> None:
        """Agree on a stop, on the pace and on a checkpoint."""
        session = self.session
        session.clock.note_step(duration)
        wanted = [float(session.stop.signal), self._new_steps_left(), self._save_is_due()]
        signal, steps_left, save = session.process.highest(wanted)
        if steps_left:
            self.pacer.replan(self.done, int(steps_left))
        if signal or save:
            self._read_loss()
            self.save()
        if signal:
            session.stop.signal = int(signal)  # perhaps another process was told
            session.stop.check(f"all {self.done} steps, in {self.run.path}" if self.run else "")

    def _new_steps_left(self) -> float:
        """Steps that the clock allows where that differs from the plan, else 0."""
        clock = self.session.clock
        if not self.session.process.leads or clock.budget is None or self.pacer.over(self.done):
            return 0.0
        if time.monotonic() - self._planned < PLAN_EVERY * clock.budget:
            return 0.0
        self._planned = time.monotonic()
        planned, left = self.pacer.steps_left(self.done), clock.steps_left(self.validator.left)
        return float(left) if abs(left - planned) > PLAN_SLACK * planned else 0.0

    def _save_is_due(self) -> float:
        passed = time.monotonic() - self._saved
        return float(self.session.process.leads and passed >= self.session.resolved.save_every)

    def _validate_if_due(self) -> Iterator[Event]:
        progress = self.pacer.at(self.done)
        if not self.validator.due(progress):
            return
        self._read_loss()
        began, clock = time.monotonic(), self.session.clock
        figures: dict[str, Any] = {
            **self.validator.validate(self.step, progress, self.session.process),
            **self.spent.rates(),
        }
        event = ValidationEvent(
            step=self.done,
            epoch=round(self.done / len(self.loader), 4),
            progress=round(progress, 6),
            learning_rate=self.step.learning_rate,
            train_loss=self.losses.mean(),
            **figures,
            seconds=round(clock.elapsed(), 2),
        )
        self.losses.restart()
        self.spent = TimeSpent()
        self.step.trunk.go_back(self.done, progress)
        clock.validation_seconds = time.monotonic() - began
        clock.finish_seconds = self.validator.finish_seconds()
        if clock.budget is not None:
            self._thin_out(progress, VALIDATING * clock.left())
        yield event

    def _thin_out(self, progress: float, seconds: float) -> None:
        """Validate less often where that would take too much of what the clock has left."""
        times = self.validator.affordable(progress, seconds, self.session.clock.validation_seconds)
        self.validator.thin_out(int(self.session.process.from_leader([times])[0]), progress)

    def throughput(self) -> dict[str, Any]:
        """Images a second, share of waiting, seconds by kind of work, over all steps."""
        return self.total.rates() | {"spent": self.total.seconds()}

    def save(self) -> None:
        """Write a checkpoint, where this process leads."""
        self._saved = time.monotonic()
        if self.run is not None:
            run = self.run
            checkpoints.save(run.checkpoints, self.done, self.state_dict(), run.identity)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        assert self.run is not None
        trunk = {"trunk": self.step.trunk.state_dict()} if self.step.falls else {}
        return trunk | {
            "step": self.done,
            **self.pacer.state_dict(),
            "loss": [self.losses.total, self.losses.count],
            "spent": astuple(self.total),
            "learner": self.step.state_dict(),
            "judge": self.validator.state_dict(),
            "clock": self.session.clock.state_dict(),
            "journal": self.run.journal_length(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.done = state["step"]
        self.pacer.load_state_dict(state)
        self.losses.total, self.losses.count = state["loss"]
        self.total = TimeSpent(*state["spent"])
        self.step.load_state_dict(state["learner"])
        if self.step.falls:
            self.step.trunk.load_state_dict(state["trunk"])
        self.validator.load_state_dict(state["judge"])
        self.session.clock.load_state_dict(state["clock"])
        if self.run is not None:
            self.run.rewind(state["journal"])
