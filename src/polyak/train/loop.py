"""The loop: batches in, records out; saved, validated and stopped between two steps."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass

import numpy as np
import torch

from polyak.data.loader import Batch, Loader
from polyak.errors import DivergedError, shown
from polyak.train import checkpoint
from polyak.train.distributed import World
from polyak.train.judge import Judge
from polyak.train.learner import Learner
from polyak.train.pace import Clock, Pace
from polyak.train.run import Run
from polyak.train.signals import Stop

SMALL = 16  # pictures of a pass without gradients: maps of more do not fit a processor's caches
PLAN_EVERY = 0.02  # of the budget: how often the clock may bend the pace
KINDS = ("wait", "compute", "decode", "render")  # of work in a step
PLAN_SLACK = 0.005  # deviations below this share of the remaining steps are noise


@dataclass
class Spent:
    """Add up where the time of steps went: by the clock of this process, and on loader threads.

    Args:
        wait: seconds in which the step waited for its batch.
        compute: seconds of forward, backward and the rule.
        decode: of all loader threads together, while the step computed or waited.
        render: the same.
        images: of all processes.

    >>> spent = Spent(); spent.add(wait=0.5, compute=1.5, images=8); spent.rates()
    {'images_per_second': 4.0, 'wait_share': 0.25}
    """

    wait: float = 0.0
    compute: float = 0.0
    decode: float = 0.0
    render: float = 0.0
    images: int = 0

    def add(
        self, wait: float, compute: float, images: int, work: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Add one step, and what decoding and rendering its batch took."""
        self.wait, self.compute = self.wait + wait, self.compute + compute
        self.decode, self.render = self.decode + work[0], self.render + work[1]
        self.images += images

    def rates(self) -> dict:
        """Images a second, and the share of the time that was waiting for data."""
        seconds = max(1e-9, self.wait + self.compute)
        return {
            "images_per_second": round(self.images / seconds, 1),
            "wait_share": round(self.wait / seconds, 5),
        }

    def seconds(self) -> dict:
        """Seconds by kind of work.

        >>> Spent(wait=0.5, compute=1.25).seconds()
        {'wait': 0.5, 'compute': 1.25, 'decode': 0.0, 'render': 0.0}
        """
        return {name: round(getattr(self, name), 3) for name in KINDS}


class Loop:
    """Take the steps of a run and tell of each.

    Args:
        learner: what learns.
        loader: the training batches.
        judge: validates raw and averaged weights, keeps the best.
        pace: progress as a function of the step.
        clock: the budget's.
        run: the run directory; None on processes that do not lead.
        world: this process among all.
        stop: the signal that was noted.
        save_every: seconds between checkpoints.
    """

    def __init__(
        self,
        learner: Learner,
        loader: Loader,
        judge: Judge,
        pace: Pace,
        clock: Clock,
        run: Run | None,
        world: World,
        stop: Stop,
        save_every: float,
    ):
        self.learner, self.loader, self.judge = learner, loader, judge
        self.pace = self.first_pace = pace
        self.clock, self.run, self.world, self.stop = clock, run, world, stop
        self.save_every = save_every
        self.step = 0
        self.loss_sum, self.loss_count = 0.0, 0
        self.loss = float("nan")  # until a first loss is known
        self.spent = Spent()  # since the last validation
        self.total = Spent()  # since the first step
        self._pending: tuple[torch.Tensor, np.ndarray] | None = None
        self._saved = self._planned = time.monotonic()

    def records(self) -> Iterator[dict]:
        """Train to the end of the pace.

        Raises:
            DivergedError: a loss that is not finite.
            Stopped: a signal came; the state is saved.
        """
        yield from self._remember()
        yield from self._validate_if_due()  # a checkpoint may lie between a step and its validation
        while not self.over:
            epoch, start = divmod(self.step, len(self.loader))
            began = time.monotonic()
            for batch in self.loader.epoch(epoch, start):
                waited = time.monotonic() - began
                yield self._take(batch, epoch, waited)
                self._attend(time.monotonic() - began)
                yield from self._validate_if_due()
                if self.over:
                    break
                began = time.monotonic()
        self._note_loss()
        self.save()

    def _remember(self) -> Iterator[dict]:
        """Let what sleeps look at each picture once, where nothing random will change it."""
        memory, of = self.learner.memory, len(self.loader.labels)
        if memory is None or not memory.limit:
            return
        kept = "the last checkpoint" if self._saved_before() else "nothing was begun"
        with closing(self.loader.in_order(SMALL).epoch(0)) as pictures:
            for done in memory.fill(pictures):
                self.stop.check(kept)
                yield {"kind": "features", "done": done, "of": of}

    @property
    def over(self) -> bool:
        """Whether all steps are taken, or the judge sees no more progress."""
        return self.pace.over(self.step) or self.judge.patience_is_over

    def _take(self, batch: Batch, epoch: int, waited: float) -> dict:
        began = time.monotonic()
        progress = self.pace.at(self.step)
        whole = min(self.loader.batch_size, len(self.loader.labels))
        loss = self.learner.step(batch, self.step, progress, whole)
        # read one step late: a GPU computes on while we look at the number before
        self._note_loss()
        self._pending = loss, batch.indices
        self.step += 1
        for spent in (self.spent, self.total):
            spent.add(waited, time.monotonic() - began, whole, batch.work)
        return {"kind": "step", "step": self.step, "epoch": epoch, "progress": progress,
                "loss": self.loss}  # fmt: skip

    def _note_loss(self) -> None:
        if self._pending is None:
            return
        (loss, indices), self._pending = self._pending, None
        value = loss.item()
        if not np.isfinite(value):
            files = [shown(self.loader.images.files[i].name) for i in indices[:4]]
            raise DivergedError(
                "the loss is not finite",
                where=f"step {self.step}",
                why=f"{value} on the batch of {', '.join(files)}, ...",
                kept="the last checkpoint" if self._saved_before() else "",
                then="lower --learning-rate",
            )
        self.loss_sum, self.loss_count = self.loss_sum + value, self.loss_count + 1
        self.loss = self.loss_sum / self.loss_count

    def _saved_before(self) -> bool:
        return self.run is not None and bool(checkpoint.found(self.run.checkpoints))

    def _attend(self, duration: float) -> None:
        """Between two steps: agree on a stop, on the pace and on a checkpoint."""
        self.clock.note_step(duration)
        wanted = [float(self.stop.signal), self._steps_left(), self._save_is_due()]
        signal, steps_left, save = self.world.highest(wanted)
        if steps_left:
            self.pace = self.pace.replanned(self.step, int(steps_left))
        if signal or save:
            self._note_loss()
            self.save()
        if signal:
            self.stop.signal = int(signal)  # perhaps another process was told
            self.stop.check(f"all {self.step} steps, in {self.run.path}" if self.run else "")

    def _steps_left(self) -> float:
        if not self.world.leads or self.clock.budget is None or self.pace.over(self.step):
            return 0.0
        if time.monotonic() - self._planned < PLAN_EVERY * self.clock.budget:
            return 0.0
        self._planned = time.monotonic()
        planned = (1 - self.pace.at(self.step)) / self.pace.rate
        left = self.clock.steps_left(self.judge.left)
        return float(left) if abs(left - planned) > PLAN_SLACK * planned else 0.0

    def _save_is_due(self) -> float:
        return float(self.world.leads and time.monotonic() - self._saved >= self.save_every)

    def _validate_if_due(self) -> Iterator[dict]:
        if not self.judge.due(self.pace.at(self.step)):
            return
        self._note_loss()
        began = time.monotonic()
        record = {
            "kind": "validation",
            "step": self.step,
            "epoch": round(self.step / len(self.loader), 4),
            "progress": round(self.pace.at(self.step), 6),
            "learning_rate": self.learner.optimizer.param_groups[0]["lr"],
            "train_loss": self.loss_sum / max(1, self.loss_count),
            **self.judge.validate(self.learner, self.pace.at(self.step), self.world),
            **self.spent.rates(),
            "seconds": round(self.clock.elapsed(), 2),
        }
        self.loss_sum, self.loss_count, self.spent = 0.0, 0, Spent()
        self.clock.validation_seconds = time.monotonic() - began
        self.clock.finish_seconds = self.judge.finish_seconds()
        yield record

    def throughput(self) -> dict:
        """Images a second, share of waiting, seconds by kind of work, over all steps."""
        return self.total.rates() | {"spent": self.total.seconds()}

    def save(self) -> None:
        """Write a checkpoint, where this process leads."""
        self._saved = time.monotonic()
        if self.run is not None:
            run = self.run
            checkpoint.save(run.checkpoints, self.step, self.state_dict(), run.identity)

    def state_dict(self) -> dict:
        """Everything that the rest of the run depends on."""
        assert self.run is not None
        return {
            "step": self.step,
            "pace": astuple(self.pace),
            "first_pace": astuple(self.first_pace),
            "loss": [self.loss_sum, self.loss_count],
            "spent": astuple(self.total),
            "learner": self.learner.state_dict(),
            "judge": self.judge.state_dict(),
            "clock": self.clock.state_dict(),
            "journal": self.run.journal(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.step = state["step"]
        self.pace = Pace(*state["pace"])
        self.loss_sum, self.loss_count = state["loss"]
        self.total = Spent(*state["spent"])
        self.learner.load_state_dict(state["learner"])
        self.judge.load_state_dict(state["judge"])
        self.clock.load_state_dict(state["clock"])
        if self.run is not None:
            self.run.rewind(state["journal"])
