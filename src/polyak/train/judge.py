"""Validation in the course of training: raw weights against averages, members, when to stop."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from polyak.data.loader import Loader
from polyak.errors import DivergedError, RefusedError
from polyak.inference import log_probabilities
from polyak.networks.preprocessing import Preprocessing
from polyak.optim import Average
from polyak.train.distributed import World
from polyak.train.job import Data, Machine
from polyak.train.learner import Learner
from polyak.train.snapshots import Snapshots

REFRESHED = 4096  # pictures that batch-norm statistics of an average are estimated from
GLANCE = 4  # in the course of a run, where nothing is kept: one in so many training pictures
REFRESH_EPOCH = 1 << 40  # an epoch that no run reaches: its order and pixels are drawn for this


class Judge:
    """Measure raw and averaged weights on held-out pictures at even progress.

    Args:
        data: the parts of the data by split; without `val` nothing is measured.
        loader: the training batches, for batch-norm statistics of the average.
        page: from picture to input.
        where: device, precision, threads.
        times: how often in a run.
        patience: stop after so many validations without progress; None never stops.
        views: test-time views of the final evaluation.
        check: called at every batch; may raise to stop.
        candidates: how many ways to end the run will be measured at its end.
        start: the weights that fine-tuning begins with, which stand at its end too.
    """

    def __init__(
        self,
        data: dict[str, Data],
        loader: Loader,
        page: Preprocessing,
        where: Machine,
        *,
        times: int,
        patience: int | None,
        views: int,
        check: Callable[[], object],
        candidates: int = 2,
        start: dict[str, Tensor] | None = None,
    ):
        self.candidates, self.start = candidates, start
        self.snapshots = Snapshots(None, [])
        self.data, self.loader, self.page, self.where = data, loader, page, where
        self.times, self.patience, self.views, self.check = times, patience, views, check
        self.done, self.stale, self.best_score = 0, 0, -1.0
        self.best: dict[str, Tensor] | None = None
        self.picture_seconds = 0.0  # of one forward pass

    def due(self, progress: float) -> bool:
        """Whether a validation is due at this progress; the end of a cycle is one too."""
        return self.due_by(progress) > self.done or self.snapshots.due(progress)

    def due_by(self, progress: float) -> int:
        """Count the validations at even progress that are due by this progress."""
        return int(progress * self.times + 1e-9)

    @property
    def left(self) -> int:
        """How many validations are still to come."""
        return self.times - self.done + len(self.snapshots.ends) - self.snapshots.ended

    @property
    def patience_is_over(self) -> bool:
        """Whether the user's patience is exhausted."""
        return self.patience is not None and self.stale >= self.patience

    def validate(self, learner: Learner, progress: float, world: World) -> dict:
        """Measure, remember the best when the run may stop early, and return a record's fields."""
        self.done = self.due_by(progress)
        fields, score = {}, -1.0
        if world.leads and "val" in self.data:
            fields, score = self._measure(learner, progress)
        elif self.snapshots.due(progress):
            with self.shown(learner, *learner.averages[:1]):
                self.snapshots.take(copied(learner.network) if world.leads else {}, progress)
        if self.patience is not None:
            score = world.from_leader([score])[0]
            self.stale = 0 if score > self.best_score else self.stale + 1
        self.best_score = max(score, self.best_score)
        return fields

    def _measure(self, learner: Learner, progress: float) -> tuple[dict, float]:
        found, top, member = [], self.best_score, {}
        snapshot, lowest = self.snapshots.due(progress), np.inf
        kept = snapshot or self.patience is not None
        most = REFRESHED if kept else max(256, len(self.loader.labels) // GLANCE)
        for average in (None, *learner.averages):
            with self.shown(learner, *([average] if average else []), most=most):
                accuracy, nll = self.measure(learner.network)
                found.append((accuracy, nll))
                if self.patience is not None and accuracy > top:
                    self.best, top = copied(learner.network), accuracy
                if snapshot and nll < lowest:
                    lowest, member = nll, copied(learner.network)
        if snapshot:
            self.snapshots.take(member, progress)
        fields = {"val_accuracy": found[0][0], "val_loss": found[0][1]}
        if len(found) > 1:
            mean = max(found[1:], key=lambda pair: (pair[0], -pair[1]))
            fields |= {"average_accuracy": mean[0], "average_loss": mean[1]}
        return fields, max(accuracy for accuracy, _ in found)

    def measure(self, network) -> tuple[float, float]:
        """Accuracy and NLL of a network on the validation part, one view."""
        began = time.monotonic()
        logs, labels = self.predict(network, "val", "one", self.where.precision.name)
        self.picture_seconds = (time.monotonic() - began) / max(1, len(labels))
        return scores(logs, labels)

    def predict(
        self, network, split: str, views: str, precision: str = "float32"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities (N, K) and labels (N,) of a split's readable pictures."""
        logs = self.say(network, split, views, precision)
        read = np.flatnonzero(~np.isnan(logs).any(axis=1))
        return logs[read], self.data[split].dataset.labels[read]

    def say(self, network, split: str, views: str, precision: str = "float32") -> np.ndarray:
        """Log-probabilities (N, K) of a split's pictures; NaN where one could not be read.

        In float32, as the model file predicts later; training's own precision is for quick looks.

        Raises:
            DivergedError: an answer is not finite.
        """
        how = {"device": self.where.device, "threads": self.where.threads.loader}
        images = self.data[split].images
        how |= {"views": views, "precision": precision, "check": self.check}
        try:
            return log_probabilities(network, images, self.page, **how)[0]
        except RefusedError as error:
            raise DivergedError(
                error.what,
                where=error.where,
                why="the weights have become too large",
                kept="the last checkpoint",
                then="lower --learning-rate",
            ) from error

    def shown(
        self, learner: Learner, *average: Average, most: int = REFRESHED
    ) -> AbstractContextManager:
        """Show the raw weights, or those of an average, for a while."""
        return self._averaged(learner, *average, most=most) if average else nullcontext()

    @contextmanager
    def _averaged(self, learner: Learner, average: Average, most: int) -> Iterator[None]:
        learner.network.eval()
        with closing(self.training_pictures(most)) as pictures:
            with average.swapped_in(learner.network, pictures):
                yield

    def training_pictures(self, most: int = REFRESHED) -> Generator[Tensor, None, None]:
        """Batches to estimate batch-norm statistics from, always the same ones."""
        batches = max(1, min(most, REFRESHED) // self.loader.batch_size)
        with closing(self.loader.epoch(REFRESH_EPOCH)) as epoch:
            for batch in islice(epoch, batches):
                yield batch.images.to(self.where.device)

    def finish_seconds(self) -> float:
        """Estimate what the final evaluation will take."""
        held_out = sum(len(self.data.get(split, ())) for split in ("val", "test"))
        rows = self.candidates
        shown = rows if self.snapshots.ends else 1  # rows that are measured with views too
        refreshed = min(REFRESHED, len(self.loader.labels))
        looks = held_out * (rows + shown * self.views) + (rows - 1) * refreshed
        intervals = 1e-4 * held_out * (rows + shown)
        file_and_page = 3.0
        return self.picture_seconds * looks + intervals + file_and_page

    def state_dict(self) -> dict:
        """Everything that the rest of the run depends on."""
        names = ("done", "stale", "best_score", "best")
        state = {name: getattr(self, name) for name in names}
        return state | {"snapshots": self.snapshots.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.snapshots.load_state_dict(state["snapshots"])
        for name in ("done", "stale", "best_score", "best"):
            setattr(self, name, state[name])


def scores(logs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Accuracy and mean negative log-likelihood of log-probabilities (N, K).

    >>> accuracy, nll = scores(np.log([[0.6, 0.4], [0.25, 0.75]]), np.array([1, 1]))
    >>> accuracy, round(nll, 3)
    (0.5, 0.602)
    """
    right = logs.argmax(1) == labels
    return float(right.mean()), float(-logs[np.arange(len(labels)), labels].mean())


def copied(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's weights into memory of their own.

    >>> sorted(copied(nn.Linear(1, 1)))
    ['bias', 'weight']
    """
    plain = {"memory_format": torch.contiguous_format}
    return {name: v.detach().cpu().clone(**plain) for name, v in network.state_dict().items()}
