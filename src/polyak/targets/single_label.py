"""One label of K classes for every image: softmax, cross-entropy, the likeliest class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from polyak import metrics
from polyak.metrics import Evaluation
from polyak.targets.kind import Figures, TargetKind

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


class SingleLabel:
    """Answer for images that have one label each.

    >>> kind = SingleLabel()
    >>> odds = kind.probabilities(np.log([[0.2, 0.8], [0.6, 0.4]]))
    >>> odds.round(3).tolist(), kind.decide(odds).tolist()
    ([[0.2, 0.8], [0.6, 0.4]], [1, 0])
    """

    name = "single-label"
    measure = "accuracy"
    several = False

    def soft(self, labels: "Tensor", classes: int) -> "Tensor":
        """Write labels, int64 (N,), as targets that can be mixed: float32 (N, K), 1 at the label.

        >>> import torch
        >>> SingleLabel().soft(torch.tensor([1]), 3).tolist()
        [[0.0, 1.0, 0.0]]
        """
        from polyak.augment import soft

        return soft(labels, classes)

    def loss(
        self,
        logits: "Tensor",
        targets: "Tensor",
        label_smoothing: float = 0.0,
        weights: "Tensor | None" = None,
    ) -> "Tensor":
        """Give the mean cross-entropy of logits (N, K), nats, a 0-dimensional tensor.

        Args:
            logits: float (N, K), computed in float32.
            targets: labels, int64 (N,), or probabilities, float32 (N, K).
            label_smoothing: share of every target that is spread over all classes.
            weights: float32 (K,), how much each class counts, 1 on average over the images; None
                counts all alike.

        >>> import torch
        >>> round(SingleLabel().loss(torch.zeros(1, 4), torch.tensor([0])).item(), 4)  # log 4
        1.3863
        """
        from torch.nn import functional

        logits = logits.float()
        if weights is None:
            return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        each = functional.cross_entropy(
            logits, targets, label_smoothing=label_smoothing, reduction="none"
        )
        # by the image's own classes: torch's weights count what smoothing spreads over rare ones
        # as much, and its mean divides by what a batch holds
        own = targets @ weights if targets.is_floating_point() else weights[targets]
        return (each * own).mean()

    def log_probs(self, logits: Array, temperature: float = 1.0) -> Array:
        """Turn logits (..., K) into log-probabilities at a temperature."""
        return metrics.log_softmax(logits, temperature)

    def logits(self, log_probs: Array) -> Array:
        """Give log-probabilities (..., K) as logits: they serve as such."""
        return log_probs

    def probabilities(self, logits: Array, temperature: float = 1.0) -> Array:
        """Turn logits (N, K) into probabilities at a temperature."""
        return metrics.softmax(logits, temperature)

    def temperature(self, log_probs: np.ndarray, labels: np.ndarray) -> float:
        """Fit the temperature at which predictions are calibrated best; 1 where there is no image.

        >>> SingleLabel().temperature(np.zeros((0, 2)), np.zeros(0, int))
        1.0
        """
        return metrics.fit_temperature(log_probs, labels) if len(labels) else 1.0

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Decide on the likeliest class of each image: int64 (N,)."""
        return probabilities.argmax(axis=-1)

    def fitted(self, probabilities: np.ndarray, labels: np.ndarray) -> "SingleLabel":
        """Give it as it is: the likeliest class needs no threshold."""
        return self

    def score(self, log_probs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Give the accuracy and the mean negative log-likelihood, nats."""
        return metrics.accuracy_and_nll(log_probs, labels)

    def losses(self, log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Give the negative log-likelihood of each image, nats, float64 (N,)."""
        return metrics.losses(log_probs, labels)

    def evaluate(self, probabilities: np.ndarray, labels: np.ndarray) -> Evaluation:
        """Measure accuracy, NLL and calibration error, each with its 95 % interval."""
        return metrics.evaluate(probabilities, labels)

    def figures(
        self, probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
    ) -> Figures:
        """Measure predictions, and say which classes are taken for which."""
        matrix = metrics.confusion_matrix(self.decide(probabilities), labels, len(classes))
        confusions = metrics.most_confused(matrix, classes)
        cautions = metrics.cautions(matrix, classes)
        return Figures(self.evaluate(probabilities, labels), confusions, cautions)


SINGLE_LABEL: TargetKind = SingleLabel()
