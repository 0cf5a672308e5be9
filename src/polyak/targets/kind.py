"""What every kind of target answers: training, selection, reports and export ask nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from polyak.metrics import Confusion, Evaluation

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


@dataclass(frozen=True)
class Figures:
    """Hold how good predictions are, as tables and reports show it.

    Args:
        evaluation: figures with intervals.
        confusions: the most frequent mistakes.
        cautions: where these figures mislead, a line each.

    >>> from polyak.targets import SINGLE_LABEL
    >>> odds = np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> SINGLE_LABEL.figures(odds, np.array([0, 1]), ["cat", "dog"]).confusions
    [Confusion(truth='dog', taken_for='cat', images=1, share=1.0)]
    """

    evaluation: Evaluation
    confusions: list[Confusion]
    cautions: list[str]

    def as_json(self, split: str) -> dict[str, Any]:
        """Give what the last event of a run tells of a split."""
        return {
            "evaluation": {"split": split} | self.evaluation.as_json(),
            "confused": [list(pair) for pair in self.confusions],
            "cautions": self.cautions,
        }


class TargetKind(Protocol):
    """Turn labels into targets, logits into answers, and both into figures.

    >>> from polyak.targets import SINGLE_LABEL
    >>> kind: TargetKind = SINGLE_LABEL
    >>> kind.name
    'single-label'
    """

    @property
    def name(self) -> str:
        """What files call it."""
        ...

    @property
    def measure(self) -> str:
        """What the first number of `score` is called."""
        ...

    @property
    def several(self) -> bool:
        """Whether an image may have any number of the labels, (N, K), and not one, (N,)."""
        ...

    def soft(self, labels: "Tensor", classes: int) -> "Tensor":
        """Write labels as targets that can be mixed: float32 (N, K)."""
        ...

    def loss(
        self,
        logits: "Tensor",
        targets: "Tensor",
        label_smoothing: float = 0.0,
        weights: "Tensor | None" = None,
    ) -> "Tensor":
        """Give the mean loss of logits (N, K): of labels, or of targets that were mixed or taught,
        a 0-dimensional tensor; `weights` (K,) say how much each class counts.
        """
        ...

    def log_probs(self, logits: Array, temperature: float = 1.0) -> Array:
        """Turn logits (..., K) into log-probabilities at a temperature."""
        ...

    def logits(self, log_probs: Array) -> Array:
        """Turn log-probabilities (..., K) back into logits, which a temperature may divide."""
        ...

    def probabilities(self, logits: Array, temperature: float = 1.0) -> Array:
        """Turn logits (N, K) into probabilities at a temperature."""
        ...

    def temperature(self, log_probs: np.ndarray, labels: np.ndarray) -> float:
        """Fit the temperature at which predictions are calibrated best."""
        ...

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Decide on the answer to each image."""
        ...

    def fitted(self, probabilities: np.ndarray, labels: np.ndarray) -> "TargetKind":
        """Choose on held-out images what decisions depend on; the same where there is nothing."""
        ...

    def score(self, log_probs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Give the share of right decisions, of several labels the mean average precision, and the
        mean negative log-likelihood, nats.
        """
        ...

    def losses(self, log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Give the negative log-likelihood of each image, nats, float64 (N,)."""
        ...

    def evaluate(self, probabilities: np.ndarray, labels: np.ndarray) -> Evaluation:
        """Measure predictions, each figure with its 95 % interval."""
        ...

    def figures(
        self, probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
    ) -> Figures:
        """Measure predictions, and say which mistakes are the most frequent."""
        ...
