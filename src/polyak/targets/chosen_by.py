"""What validation can choose by, one number each, larger where better."""

from typing import Literal

import numpy as np

from polyak.metrics import balanced_accuracy, indicators, macro_f1
from polyak.targets.kind import TargetKind

ChooseBy = Literal["auto", "nll", "accuracy", "balanced", "f1"]


def value_by(by: str, kind: TargetKind, log_probs: np.ndarray, labels: np.ndarray) -> float:
    """Measure predictions by one figure.

    Args:
        by: "nll"; "accuracy", of several labels mean average precision; "balanced" accuracy; "f1",
            its mean over classes.
        kind: of the targets.
        log_probs: float (N, K), calibrated.
        labels: as the kind has them.

    >>> from polyak.targets import SINGLE_LABEL
    >>> logs, labels = np.log([[0.9, 0.1]] * 3 + [[0.6, 0.4]]), np.array([0, 0, 0, 1])
    >>> [round(value_by(by, SINGLE_LABEL, logs, labels), 3) for by in ("accuracy", "balanced")]
    [0.75, 0.5]
    """
    if by in ("nll", "accuracy"):
        accuracy, nll = kind.score(log_probs, labels)
        return -nll if by == "nll" else accuracy
    odds = np.exp(log_probs)
    if kind.several:
        found = kind.fitted(odds, labels).evaluate(odds, labels).f1
        return 0.0 if found is None else found.value
    counts = indicators(kind.decide(odds), labels, odds.shape[1]).sum(0)
    return float((balanced_accuracy if by == "balanced" else macro_f1)(counts))
