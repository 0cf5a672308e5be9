"""Validation in the course of training: raw weights against averages, snapshots, when to stop."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor, nn

from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.data.parts import Part
from polyak.ensemble import copied
from polyak.inference import as_divergence, log_probabilities
from polyak.networks.preprocessing import Preprocessing
from polyak.optim import Average
from polyak.recipe.machine import Machine
from polyak.training.distributed import Process
from polyak.training.snapshots import SnapshotFiles
from polyak.training.step import TrainingStep

BATCH_NORM_IMAGES = 4096  # that batch-norm statistics of an average are estimated from
GLANCE = 4  # in the course of a run, where nothing is kept: one in so many training images
TIMED = 128  # held-out images that foretell what predicting the others takes
BATCH_NORM_EPOCH = 1 << 40  # an epoch that no run reaches: its order and pixels are drawn for this


def due_by(progress: float, times: int) -> int:
    """Count the validations that are due by some progress, of so many at even progress.

    >>> [due_by(progress, 4) for progress in (0.2, 0.25, 0.9, 1.0)]
    [0, 1, 3, 4]
    """
    return int(progress * times + 1e-9)


@dataclass
class Validator:
    """Measure raw and averaged weights on held-out images at even progress.

    Args:
        parts: the data by split; without `val` nothing is measured.
        loader: the training batches, for batch-norm statistics of the average.
        preprocessing: from image to input.
        machine: device, precision, threads.
        times: how often in a run.
        patience: stop after so many validations without progress; None never stops.
        views: test-time views of the final evaluation, how many.
        check: called at every batch; may raise to stop.
        candidates: how many ways to end the run will be measured at its end.
        start: the weights that fine-tuning begins with, which can be chosen at its end too.
    """

    parts: dict[str, Part]
    loader: Loader
    preprocessing: Preprocessing
    machine: Machine
    times: int
    patience: int | None
    views: int
    check: Callable[[], object]
    candidates: int = 2
    start: dict[str, Tensor] | None = None
    snapshots: SnapshotFiles = field(default_factory=lambda: SnapshotFiles(None, []))
    done: int = 0
    stale: int = 0
    best_score: float = -1.0
    best: dict[str, Tensor] | None = None
    image_seconds: float = 0.0  # of one forward pass
    refresh_seconds: float = 0.0  # of one image that batch-norm statistics are estimated from
    refreshed: int = 0  # such images so far
    most_refreshed: int = BATCH_NORM_IMAGES  # at once; a budget may afford fewer

    def due(self, progress: float) -> bool:
        """Whether a validation is due at this progress; the end of a cycle is one too."""
        return due_by(progress, self.times) > self.done or self.snapshots.due(progress)

    @property
    def left(self) -> int:
        """How many validations are still to come."""
        return self.times - self.done + len(self.snapshots.ends) - self.snapshots.ended

    def affordable(self, progress: float, seconds: float, each: float) -> int:
        """Say how often a run may validate, so that what is still to come fits some seconds.

        Never more often than now. The last validation always takes place, and with patience all.

        Args:
            progress: of the run.
            seconds: for all validations that are still to come.
            each: seconds of one.
        """
        if self.patience is not None:
            return self.times
        for times in range(self.times, 1, -1):
            if (times - due_by(progress, times)) * each <= seconds:
                return times
        return 1

    def thin_out(self, times: int, progress: float) -> None:
        """Validate less often from here on."""
        self.times, self.done = times, due_by(progress, times)

    @property
    def patience_is_over(self) -> bool:
        """Whether the user's patience is exhausted."""
        return self.patience is not None and self.stale >= self.patience

    def validate(self, step: TrainingStep, progress: float, process: Process) -> dict[str, float]:
        """Measure, and remember the best where the run may stop early: figures by name."""
        self.done = due_by(progress, self.times)
        figures, score = {}, -1.0
        if process.leads and "val" in self.parts:
            figures, score = self._measure(step, progress)
        elif self.snapshots.due(progress):
            with self.averaged(step, *step.averages[:1]):
                self.snapshots.take(copied(step.network) if process.leads else {}, progress)
        if self.patience is not None:
            score = process.from_leader([score])[0]
            self.stale = 0 if score > self.best_score else self.stale + 1
        self.best_score = max(score, self.best_score)
        return figures

    def _measure(self, step: TrainingStep, progress: float) -> tuple[dict[str, float], float]:
        found, top, member = [], self.best_score, {}
        snapshot, lowest = self.snapshots.due(progress), np.inf
        kept = snapshot or self.patience is not None
        most = BATCH_NORM_IMAGES if kept else max(256, len(self.loader.labels) // GLANCE)
        for average in (None, *step.averages):
            with self.averaged(step, *([average] if average else []), most=most):
                accuracy, nll = self.measure(step.network)
                found.append((accuracy, nll))
                if self.patience is not None and accuracy > top:
                    self.best, top = copied(step.network), accuracy
                if snapshot and nll < lowest:
                    lowest, member = nll, copied(step.network)
        if snapshot:
            self.snapshots.take(member, progress)
        figures = {"val_accuracy": found[0][0], "val_loss": found[0][1]}
        if len(found) > 1:
            mean = max(found[1:], key=lambda pair: (pair[0], -pair[1]))
            figures |= {"average_accuracy": mean[0], "average_loss": mean[1]}
        return figures, max(accuracy for accuracy, _ in found)

    def measure(self, network: nn.Module) -> tuple[float, float]:
        """Accuracy and NLL of a network on the validation part, one view."""
        began = time.monotonic()
        log_probs = self.log_probs(network, "val", "one", self.machine.precision.name)
        read = np.flatnonzero(~np.isnan(log_probs).any(axis=1))
        part = self.parts["val"]
        labels = part.labels[read]
        self.image_seconds = (time.monotonic() - began) / max(1, len(labels))
        return part.dataset.kind.score(log_probs[read], labels)

    def time_images(self, network: nn.Module) -> None:
        """Find out what predicting an image takes, as it will be done; the first pass warms up."""
        split = next((name for name in ("val", "test") if name in self.parts), None)
        if split is None:
            return
        images = self.parts[split].images
        few = images.take(np.arange(min(TIMED, len(images))))
        for _ in range(2):
            began = time.monotonic()
            self._predict(network, few, "one", self.machine.precision.name)
            self.image_seconds = (time.monotonic() - began) / len(few)

    def log_probs(
        self, network: nn.Module, split: str, views: str, precision: str = "float32"
    ) -> np.ndarray:
        """Log-probabilities (N, K) of a split's images; NaN where one could not be read.

        In float32, as the model file predicts later; training's own precision is for measurements
        on the way.

        Raises:
            DivergedError: one is not finite.
        """
        return self._predict(network, self.parts[split].images, views, precision)

    def _predict(
        self, network: nn.Module, images: Images, views: str, precision: str
    ) -> np.ndarray:
        with as_divergence():
            found, _ = log_probabilities(
                network,
                images,
                self.preprocessing,
                views=views,
                kind=next(iter(self.parts.values())).dataset.kind,
                device=self.machine.device,
                threads=self.machine.threads.loader,
                precision=precision,
                check=self.check,
            )
        return found

    def averaged(
        self, step: TrainingStep, *average: Average, most: int = BATCH_NORM_IMAGES
    ) -> AbstractContextManager[None]:
        """Put the weights of an average into the network for a while; without one, the raw ones."""
        return self._swapped_in(step, *average, most=most) if average else nullcontext()

    @contextmanager
    def _swapped_in(self, step: TrainingStep, average: Average, most: int) -> Iterator[None]:
        step.network.eval()
        began, before = time.monotonic(), self.refreshed
        with closing(self.training_images(most)) as images:
            with average.swapped_in(step.network, images):
                # statistics that are kept draw no image, and cost nothing at the end either
                drawn = self.refreshed - before
                self.refresh_seconds = (time.monotonic() - began) / drawn if drawn else 0.0
                yield

    def training_images(self, most: int = BATCH_NORM_IMAGES) -> Generator[Tensor, None, None]:
        """Batches to estimate batch-norm statistics from, always the same ones."""
        batches = max(1, min(most, self.most_refreshed) // self.loader.batch_size)
        with closing(self.loader.epoch(BATCH_NORM_EPOCH)) as epoch:
            for batch in islice(epoch, batches):
                self.refreshed += len(batch.images)
                yield batch.images.to(self.machine.device)

    def affordable_refresh(self, seconds: float) -> int:
        """Say from how many images batch-norm statistics are estimated, so that all estimates of
        the end fit some seconds: at least a batch, at most BATCH_NORM_IMAGES.
        """
        each = self.refresh_seconds * max(1, self.candidates - 1)
        if each <= 0:
            return BATCH_NORM_IMAGES
        return int(np.clip(seconds / each, self.loader.batch_size, BATCH_NORM_IMAGES))

    def finish_seconds(self) -> float:
        """Estimate what the final evaluation will take."""
        held_out = sum(len(self.parts.get(split, ())) for split in ("val", "test"))
        rows = self.candidates
        seen = rows if self.snapshots.ends else 1  # rows that are measured with views too
        batch = self.loader.batch_size
        refreshed = max(batch, min(self.most_refreshed, len(self.loader.labels)) // batch * batch)
        own = 1 if self.start is None else 2  # rows that have statistics of their own
        predicted = self.image_seconds * held_out * (rows + seen * self.views)
        estimated = self.refresh_seconds * refreshed * (rows - own)
        intervals = 1e-4 * held_out * (rows + seen)
        file_and_page = 3.0
        return predicted + estimated + intervals + file_and_page

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        names = ("times", "most_refreshed", "done", "stale", "best_score", "best")
        state = {name: getattr(self, name) for name in names}
        return state | {"snapshots": self.snapshots.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.snapshots.load_state_dict(state["snapshots"])
        for name in ("times", "most_refreshed"):  # before 0.2 they were the same all the time
            setattr(self, name, state.get(name, getattr(self, name)))
        for name in ("done", "stale", "best_score", "best"):
            setattr(self, name, state[name])
