"""Figures with their intervals: accuracy, negative log-likelihood, calibration error."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from polyak import keys
from polyak.metrics.arrays import checked
from polyak.metrics.balanced import balanced_accuracy, indicators, macro_f1, uneven
from polyak.metrics.calibration import BINS, bins_of
from polyak.metrics.probabilities import negative_log

LEVEL = 0.95
_DRAWS = 1 << 21  # images drawn at a time in the bootstrap: 16 MiB of numbers


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval.

    >>> print(Estimate(0.9, 0.8251, 0.9448))
    0.9000 (0.8251 to 0.9448)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found on `n` images; `balanced` accuracy and macro `f1` where the largest
    class has more than twice as many of them as the smallest; of several labels an image `map`,
    macro `f1` and `micro_f1`.

    >>> figure = Estimate(0.5, 0.25, 0.75)
    >>> Evaluation(figure, figure, figure, n=4).as_json()["accuracy"]
    {'value': 0.5, 'low': 0.25, 'high': 0.75}
    """

    accuracy: Estimate
    nll: Estimate
    ece: Estimate
    n: int
    balanced: Estimate | None = field(default=None, kw_only=True)
    f1: Estimate | None = field(default=None, kw_only=True)
    map: Estimate | None = field(default=None, kw_only=True)
    micro_f1: Estimate | None = field(default=None, kw_only=True)

    @property
    def first(self) -> Estimate:
        """The figure that counts first: accuracy; of several labels mean average precision.

        >>> figure = Estimate(0.5, 0.25, 0.75)
        >>> Evaluation(figure, figure, figure, n=4).first == figure
        True
        """
        return self.accuracy if self.map is None else self.map

    def as_json(self) -> dict[str, Any]:
        """Give plain dictionaries and numbers, the shape that `polyak evaluate --json` prints.

        >>> figure = Estimate(0.5, 0.25, 0.75)
        >>> sorted(Evaluation(figure, figure, figure, n=4).as_json())
        ['accuracy', 'ece', 'n', 'nll']
        """
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Evaluation":
        """Read what `as_json` gave, whatever else stands there.

        >>> figure = Estimate(0.5, 0.25, 0.75)
        >>> one = Evaluation(figure, figure, figure, n=4)
        >>> Evaluation.from_json(one.as_json() | {"split": "test"}) == one
        True
        """
        names = ("accuracy", "nll", "ece", "balanced", "f1", "map", "micro_f1")
        figures = {name: Estimate(**found[name]) for name in names if found.get(name)}
        return cls(**figures, n=int(found["n"]))


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Measure accuracy, negative log-likelihood and calibration error, each with its interval.

    Args:
        probabilities: float (N, K); each row sums to 1 (`softmax` makes them from logits).
        labels: int (N,); the true classes.
        resamples: bootstrap resamples behind the intervals of NLL and calibration error.
        seed: of the resamples.

    Returns:
        Accuracy with Wilson's interval; where classes are uneven, balanced accuracy and macro F1
        with the bootstrap's; NLL in nats (as `negative_log` has it) with the
        bootstrap's; expected calibration error over 15 bins of equal width. Noise adds to every
        bin, so a resample's calibration error is too large; the interval's low end is the value
        less what noise alone can add (triangle inequality over bins): well calibrated reaches 0.

    Raises:
        ValueError: shapes disagree, no images, labels outside 0..K-1, rows not probabilities.

    Source: Guo et al., "On calibration of modern neural networks", 2017; Efron, 1979; Wilson, 1927.

    >>> result = evaluate(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]))
    >>> [round(figure.value, 3) for figure in (result.accuracy, result.nll, result.ece)]
    [0.667, 0.415, 0.3]
    """
    probabilities, labels = checked(probabilities, labels)
    if (np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1) > 1e-2).any():
        raise ValueError("each row of probabilities must sum to 1: pass logits through softmax")
    n = len(labels)
    right = probabilities.argmax(axis=1) == labels
    gaps = np.zeros((n, 1 + BINS))
    gaps[:, 0] = negative_log(probabilities[np.arange(n), labels])
    confidence = probabilities.max(axis=1).astype(np.float64)
    gaps[np.arange(n), 1 + bins_of(confidence)] = right - confidence
    mean = gaps.mean(axis=0)
    drawn = _resampled_means(gaps, resamples, seed)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn[:, 0], [tail, 1 - tail])
    ece = float(np.abs(mean[1:]).sum())
    noise = np.quantile(np.abs(drawn[:, 1:] - mean[1:]).sum(axis=1), 1 - tail)
    most = np.quantile(np.abs(drawn[:, 1:]).sum(axis=1), 1 - tail)
    by_class = {}
    if uneven(labels):
        counts = indicators(probabilities.argmax(axis=1), labels, probabilities.shape[1])
        drawn = _resampled_means(counts, resamples, seed)
        for name, figure in (("balanced", balanced_accuracy), ("f1", macro_f1)):
            low_end, high_end = np.quantile(figure(drawn), [tail, 1 - tail])
            value = float(figure(counts.sum(axis=0)))
            by_class[name] = Estimate(value, float(low_end), float(high_end))
    return Evaluation(
        accuracy=wilson(int(right.sum()), n),
        nll=Estimate(float(mean[0]), float(low), float(high)),
        ece=Estimate(ece, max(0.0, ece - float(noise)), min(1.0, max(ece, float(most)))),
        n=n,
        **by_class,
    )


def wilson(right: int, n: int) -> Estimate:
    """Give a proportion with Wilson's 95 % score interval, sound near 0 and 1 and for small n.

    Args:
        right: successes, 0 to n.
        n: trials, at least 1.

    Raises:
        ValueError: `right` is not within 0..n, or n is 0.

    Source: Wilson, "Probable inference", Journal of the American Statistical Association 22, 1927.

    >>> print(wilson(90, 100))
    0.9000 (0.8256 to 0.9448)
    """
    if not 0 <= right <= n or n < 1:
        raise ValueError(f"{right} of {n} is no proportion")
    from scipy.stats import binomtest  # takes a while to import

    found = binomtest(right, n).proportion_ci(LEVEL, method="wilson")
    return Estimate(right / n, float(found.low), float(found.high))


def paired(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Give the mean of paired differences and the square of its standard error.

    What is hard for both does not blur their difference. A variance of 1 takes part with the weight
    of one image: equal answers to a few prove little.

    Args:
        before: float (n,), losses of some images, at least one.
        after: of the same images, by another.

    Raises:
        ValueError: there is no image.

    Source: Student, "The probable error of a mean", Biometrika 6, 1908.

    >>> gained, variance = paired(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
    >>> gained, variance  # a variance of 1, and half of one more
    (1.0, 0.75)
    """
    apart = np.asarray(before, np.float64) - np.asarray(after, np.float64)
    if not len(apart):
        raise ValueError("no image was asked of both")
    return float(apart.mean()), float((apart.var() + 1 / len(apart)) / len(apart))


def _resampled_means(values, resamples: int, seed: int) -> np.ndarray:
    """Draw rows of (N, M) with replacement, N each time: float64 (resamples, M), their means."""
    n = values.shape[0]
    means = np.empty((resamples, values.shape[1]))
    for row in range(0, resamples, max(1, _DRAWS // n)):
        some = np.arange(row, min(resamples, row + max(1, _DRAWS // n)))
        drawn = keys.uniform("bootstrap", seed, some[:, None], np.arange(n)) * n
        cells = drawn.astype(np.int64) + (some[:, None] - row) * n
        counts = np.bincount(cells.ravel(), minlength=len(some) * n).reshape(len(some), n)
        means[some] = counts.astype(np.float64) @ values / n
    return means
