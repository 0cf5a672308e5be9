"""A figure that was measured several times, on parts of the data: its mean and how sure it is."""

from collections.abc import Sequence

import numpy as np

from polyak.metrics.figures import LEVEL, Estimate


def over_folds(values: Sequence[float], highest: float = np.inf) -> Estimate:
    """Give the mean of a figure over folds, with Student's 95 % interval.

    Models of different folds share most of their images, so that the interval is a little too
    narrow; no estimate from one division into folds is free of that (Bengio & Grandvalet).

    Args:
        values: one a fold, at least one and none below 0; of a single one the interval is empty.
        highest: that the figure can be; the interval ends there, as it does at 0.

    Raises:
        ValueError: there is none.

    Source: Student 1908; Bengio & Grandvalet, "No unbiased estimator of the variance of k-fold
    cross-validation", JMLR 5, 2004.

    >>> print(over_folds([0.8, 0.9, 1.0]))
    0.9000 (0.6516 to 1.1484)
    >>> print(over_folds([0.8, 0.9, 1.0], highest=1.0))
    0.9000 (0.6516 to 1.0000)
    """
    found = np.asarray(values, np.float64)
    if not len(found):
        raise ValueError("no fold, no mean")
    mean = float(found.mean())
    if len(found) == 1:
        return Estimate(mean, mean, mean)
    from scipy.stats import t  # takes a while to import

    half = t.ppf((1 + LEVEL) / 2, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return Estimate(mean, max(0.0, mean - float(half)), min(highest, mean + float(half)))
