"""How good a classifier is, and how sure that figure is: accuracy, NLL, calibration, confusion.

Every figure carries a 95 % interval. Arrays only: nothing here knows networks or files.
"""

from polyak.metrics.calibration import Reliability, fit_temperature, reliability, softmax
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

__all__ = [
    "Confusion",
    "Estimate",
    "Evaluation",
    "PerClass",
    "Reliability",
    "cautions",
    "confusion_matrix",
    "evaluate",
    "fit_temperature",
    "most_confused",
    "paired",
    "per_class",
    "reliability",
    "softmax",
    "suspects",
    "wilson",
]
