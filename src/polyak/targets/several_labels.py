"""Several labels an image, each of which it has or has not: sigmoids, binary cross-entropy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from polyak import metrics
from polyak.metrics import Confusion, Evaluation
from polyak.metrics.several import THRESHOLD
from polyak.targets.kind import Figures

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")
_MOST = 20  # pairs of labels that tables show


@dataclass(frozen=True)
class SeveralLabels:
    """Answer for images that may have any number of labels.

    Labels are int (N, K): 1 where an image has one, 0 where not, -1 where nobody knows.

    Args:
        thresholds: of each label, the probability from which on it is given; None: 0.5.

    >>> kind = SeveralLabels((0.5, 0.9))
    >>> kind.decide(np.array([[0.6, 0.6]])).tolist()
    [[1, 0]]
    """

    thresholds: tuple[float, ...] | None = None
    name = "several labels"
    measure = "mAP"
    several = True

    def soft(self, labels: "Tensor", classes: int) -> "Tensor":
        """Write labels, int (N, K), as targets that can be mixed: float32; NaN: not known.

        >>> import torch
        >>> SeveralLabels().soft(torch.tensor([[1, 0, -1]]), 3).tolist()
        [[1.0, 0.0, nan]]
        """
        targets = labels.float()
        return targets.masked_fill(labels < 0, float("nan"))

    def loss(
        self,
        logits: "Tensor",
        targets: "Tensor",
        label_smoothing: float = 0.0,
        weights: "Tensor | None" = None,
    ) -> "Tensor":
        """Give the binary cross-entropy of logits (N, K), nats: of all labels of an image that are
        known, the mean over images, a 0-dimensional tensor.

        Args:
            logits: float (N, K), computed in float32.
            targets: labels, int (N, K), or probabilities, float32 (N, K), NaN where not known.
            label_smoothing: share of every target that is spread over yes and no.
            weights: float32 (K,), how much each label counts; None counts all alike.

        Source: slide "Loss functions", for two classes; Bishop 2006, equation 4.90.

        >>> import torch
        >>> round(SeveralLabels().loss(torch.zeros(1, 2), torch.tensor([[1, -1]])).item(), 4)
        0.6931
        """
        from torch.nn import functional

        if not targets.is_floating_point():
            targets = self.soft(targets, logits.shape[1])
        known = ~targets.isnan()
        wanted = targets.nan_to_num() * (1 - label_smoothing) + label_smoothing / 2
        each = functional.binary_cross_entropy_with_logits(
            logits.float(), wanted, weights, reduction="none"
        )
        return (each * known).sum(1).mean()

    def log_probs(self, logits: Array, temperature: float = 1.0) -> Array:
        """Turn logits (..., K) into the logarithm of each label's probability, at a temperature."""
        return metrics.log_sigmoid(logits, temperature)

    def logits(self, log_probs: Array) -> Array:
        """Turn log-probabilities (..., K) back into logits."""
        return metrics.log_odds(log_probs)

    def probabilities(self, logits: Array, temperature: float = 1.0) -> Array:
        """Turn logits (N, K) into the probability of each label, at a temperature."""
        found: Any = metrics.log_sigmoid(logits, temperature)
        return found.exp() if hasattr(found, "log_softmax") else np.exp(found)

    def temperature(self, log_probs: np.ndarray, labels: np.ndarray) -> float:
        """Fit the temperature at which all labels together are calibrated best; 1 without images.

        >>> SeveralLabels().temperature(np.zeros((0, 2)), np.zeros((0, 2), int))
        1.0
        """
        if not len(labels):
            return 1.0
        return metrics.fit_temperature(*metrics.as_binary(log_probs, labels))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Decide which labels each image has: int64 (N, K), 1 or 0."""
        return (probabilities >= self._thresholds(probabilities.shape[1])).astype(np.int64)

    def fitted(self, probabilities: np.ndarray, labels: np.ndarray) -> "SeveralLabels":
        """Choose the threshold of each label on held-out images."""
        if not len(labels):
            return self
        chosen = metrics.choose_thresholds(probabilities, labels)
        return replace(self, thresholds=tuple(chosen.tolist()))

    def score(self, log_probs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Give the mean average precision, which needs no threshold, and the mean negative
        log-likelihood of an image, nats.
        """
        precision = metrics.mean_average_precision(log_probs, labels)
        return precision, float(self.losses(log_probs, labels).mean())

    def losses(self, log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Give the negative log-likelihood of each image, its labels together, nats: (N,)."""
        return metrics.binary_losses(log_probs, labels)

    def evaluate(self, probabilities: np.ndarray, labels: np.ndarray) -> Evaluation:
        """Measure mean average precision, F1, NLL and calibration error, with 95 % intervals."""
        thresholds = self._thresholds(probabilities.shape[1])
        return metrics.evaluate_several(probabilities, labels, thresholds)

    def figures(
        self, probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
    ) -> Figures:
        """Measure predictions, and say which labels are given in place of, or beside, which.

        A confusion is an image that has one label, which is missed, and is given another that it
        has not.
        """
        given = self.decide(probabilities)
        missed, extra = ((labels > 0) & (given == 0)), ((labels == 0) & (given > 0))
        both = missed.T.astype(np.int64) @ extra.astype(np.int64)
        had = np.maximum((labels > 0).sum(0), 1)
        pairs = sorted(np.argwhere(both).tolist(), key=lambda ij: (-both[*ij], ij))[:_MOST]
        confusions = [
            Confusion(classes[i], classes[j], int(both[i, j]), float(both[i, j] / had[i]))
            for i, j in pairs
        ]
        never = (labels > 0).any(0) & ~((labels > 0) & (given > 0)).any(0)
        names = ", ".join(classes[int(i)] for i in np.flatnonzero(never)[:5])
        cautions = [f"never given where it is right: {names}"] if never.any() else []
        return Figures(self.evaluate(probabilities, labels), confusions, cautions)

    def _thresholds(self, classes: int) -> np.ndarray:
        if self.thresholds is None:
            return np.full(classes, THRESHOLD)
        return np.asarray(self.thresholds)


SEVERAL_LABELS = SeveralLabels()
