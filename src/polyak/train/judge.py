"""Validation in the course of training: raw weights against their average, and when to stop."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice

import numpy as np
from torch import Tensor

from polyak.data.loader import Loader
from polyak.inference import log_probabilities
from polyak.networks.preprocessing import Preprocessing
from polyak.train.distributed import World
from polyak.train.job import Data, Machine
from polyak.train.learner import Learner

REFRESHED = 4096  # pictures that batch-norm statistics of an average are estimated from
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
    ):
        self.data, self.loader, self.page, self.where = data, loader, page, where
        self.times, self.patience, self.views, self.check = times, patience, views, check
        self.done, self.stale, self.best_score = 0, 0, -1.0
        self.best: dict[str, Tensor] | None = None
        self.picture_seconds = 0.0  # of one forward pass
        self.read: dict[str, np.ndarray] = {}  # positions that the last prediction could read

    def due(self, progress: float) -> bool:
        """Whether a validation is due at this progress."""
        return int(progress * self.times + 1e-9) > self.done

    @property
    def left(self) -> int:
        """How many validations are still to come."""
        return self.times - self.done

    @property
    def patience_is_over(self) -> bool:
        """Whether the user's patience is exhausted."""
        return self.patience is not None and self.stale >= self.patience

    def validate(self, learner: Learner, progress: float, world: World) -> dict:
        """Measure, remember the best when the run may stop early, and return a record's fields."""
        self.done = int(progress * self.times + 1e-9)
        fields, score = {}, -1.0
        if world.leads and "val" in self.data:
            fields, score = self._measure(learner)
        if self.patience is not None:
            score = world.from_leader([score])[0]
            self.stale = 0 if score > self.best_score else self.stale + 1
        self.best_score = max(score, self.best_score)
        return fields

    def _measure(self, learner: Learner) -> tuple[dict, float]:
        raw = self.measure(learner.network)
        fields = {"val_accuracy": raw[0], "val_loss": raw[1]}
        score = raw[0]
        if self.patience is not None and score > self.best_score:
            self.best = _copy(learner.network.state_dict())
        if learner.average is not None:
            with self.averaged(learner):
                mean = self.measure(learner.network)
                if self.patience is not None and mean[0] > max(score, self.best_score):
                    self.best = _copy(learner.network.state_dict())
            fields |= {"average_accuracy": mean[0], "average_loss": mean[1]}
            score = max(score, mean[0])
        return fields, score

    def measure(self, network) -> tuple[float, float]:
        """Accuracy and NLL of a network on the validation part, one view."""
        began = time.monotonic()
        logs, labels = self.predict(network, "val", "one", self.where.precision.name)
        self.picture_seconds = (time.monotonic() - began) / max(1, len(labels))
        return scores(logs, labels)

    def predict(
        self, network, split: str, views: str, precision: str = "float32"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities (N, K) and labels (N,) of a split's readable pictures.

        In float32, as the model file predicts later; training's own precision is for quick looks.
        """
        data = self.data[split]
        logs, failed = log_probabilities(
            network,
            data.images,
            self.page,
            views=views,
            device=self.where.device,
            threads=self.where.threads.loader,
            precision=precision,
            check=self.check,
        )
        read = np.setdiff1d(np.arange(len(data)), [position for position, _ in failed])
        self.read[split] = read
        return logs[read], data.dataset.labels[read]

    @contextmanager
    def averaged(self, learner: Learner) -> Iterator[None]:
        """Put averaged weights in place for a while, with batch-norm statistics of their own."""
        learner.network.eval()
        batches = max(1, REFRESHED // self.loader.batch_size)
        epoch = self.loader.epoch(REFRESH_EPOCH)
        pictures = (batch.images.to(self.where.device) for batch in islice(epoch, batches))
        assert learner.average is not None
        with closing(epoch), learner.average.swapped_in(learner.network, pictures):
            yield

    def finish_seconds(self) -> float:
        """Estimate what the final evaluation will take."""
        validation, test = (len(self.data.get(split, ())) for split in ("val", "test"))
        looks = 2 * validation + (validation + test) * self.views + REFRESHED
        return self.picture_seconds * looks + 1.0

    def state_dict(self) -> dict:
        """Everything that the rest of the run depends on."""
        names = ("done", "stale", "best_score", "best")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        for name, value in state.items():
            setattr(self, name, value)


def scores(logs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Accuracy and mean negative log-likelihood of log-probabilities (N, K).

    >>> accuracy, nll = scores(np.log([[0.6, 0.4], [0.25, 0.75]]), np.array([1, 1]))
    >>> accuracy, round(nll, 3)
    (0.5, 0.602)
    """
    right = logs.argmax(1) == labels
    return float(right.mean()), float(-logs[np.arange(len(labels)), labels].mean())


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
