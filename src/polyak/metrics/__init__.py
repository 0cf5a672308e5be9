"""How good a classifier is, and how sure that figure is: accuracy, NLL, calibration, confusion.

Every figure carries a 95 % interval. Arrays only: nothing here knows networks or files; softmax
and its logarithm take tensors too.
"""

from polyak.metrics.across import over_folds
from polyak.metrics.balanced import class_weights
from polyak.metrics.calibration import Reliability, fit_temperature, reliability
from polyak.metrics.conformal import ClassCoverage, Conformal, Coverage
from polyak.metrics.confusion import (
    Confusion,
    PerClass,
    cautions,
    confusion_matrix,
    most_confused,
    per_class,
    suspects,
)
from polyak.metrics.figures import Estimate, Evaluation, evaluate, paired, wilson
from polyak.metrics.probabilities import (
    accuracy_and_nll,
    log_softmax,
    losses,
    negative_log,
    nll,
    softmax,
)

__all__ = [
    "ClassCoverage",
    "Conformal",
    "Confusion",
    "Coverage",
    "Estimate",
    "Evaluation",
    "PerClass",
    "Reliability",
    "accuracy_and_nll",
    "cautions",
    "class_weights",
    "confusion_matrix",
    "evaluate",
    "fit_temperature",
    "log_softmax",
    "losses",
    "most_confused",
    "negative_log",
    "nll",
    "over_folds",
    "paired",
    "per_class",
    "reliability",
    "softmax",
    "suspects",
    "wilson",
]
