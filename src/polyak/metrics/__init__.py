"""How good a classifier is, and how sure that figure is: accuracy, NLL, calibration, confusion.

Every figure carries a 95 % interval. Arrays only: nothing here knows networks or files; softmax
and its logarithm take tensors too.
"""

from polyak.metrics.across import over_folds
from polyak.metrics.balanced import balanced_accuracy, class_weights, indicators, macro_f1
from polyak.metrics.binary import as_binary, binary_losses, log_odds, log_sigmoid
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
from polyak.metrics.several import (
    LabelFigures,
    choose_thresholds,
    evaluate_several,
    mean_average_precision,
)

__all__ = [
    "ClassCoverage",
    "Conformal",
    "Confusion",
    "Coverage",
    "Estimate",
    "Evaluation",
    "LabelFigures",
    "PerClass",
    "Reliability",
    "accuracy_and_nll",
    "as_binary",
    "balanced_accuracy",
    "binary_losses",
    "cautions",
    "choose_thresholds",
    "class_weights",
    "confusion_matrix",
    "evaluate",
    "evaluate_several",
    "fit_temperature",
    "indicators",
    "log_odds",
    "log_sigmoid",
    "log_softmax",
    "losses",
    "macro_f1",
    "mean_average_precision",
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
