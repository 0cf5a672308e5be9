"""One label of K classes, each class of which counts alike, however many images it has."""

import numpy as np

from polyak import metrics
from polyak.targets.kind import TargetKind
from polyak.targets.single_label import SingleLabel


class BalancedLabel(SingleLabel):
    """Answer as `SingleLabel` does; what chooses and calibrates is the mean over classes.

    >>> kind = BalancedLabel()
    >>> logs = np.log([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    >>> kind.score(logs, np.array([0, 0, 0, 1]))[0]  # one class whole, the other missed
    0.5
    """

    name = "single-label, balanced"
    measure = "balanced accuracy"

    def temperature(self, log_probs: np.ndarray, labels: np.ndarray) -> float:
        """Fit the temperature at which predictions of a mixture of all classes alike are calibrated
        best; 1 where there is no image.

        >>> BalancedLabel().temperature(np.zeros((0, 2)), np.zeros(0, int))
        1.0
        """
        if not len(labels):
            return 1.0
        weights = metrics.class_weights(labels)
        return metrics.fit_temperature(log_probs, labels, weights=weights)

    def score(self, log_probs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Give the balanced accuracy and the mean over classes of the NLL, nats."""
        weights = metrics.class_weights(labels)
        right = self.decide(log_probs) == labels
        return float((right * weights).mean()), float(self.losses(log_probs, labels).mean())

    def losses(self, log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Give the NLL of each image, nats, as it counts in the mean over classes: float64 (N,)."""
        return metrics.losses(log_probs, labels) * metrics.class_weights(labels)


BALANCED: TargetKind = BalancedLabel()
