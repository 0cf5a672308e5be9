"""How good a classifier is, and how sure that figure is: accuracy, NLL, calibration, confusion.

Every figure carries a 95 % interval. Arrays only: nothing here knows networks or files.
"""

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from polyak import keys

LEVEL = 0.95
BINS = 15
_ROWS = 4096  # pictures softmaxed at a time: 1,000 classes stay in the cache
_DRAWS = 1 << 21  # pictures drawn at a time in the bootstrap: 16 MiB of numbers


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval.

    >>> print(Estimate(0.9, 0.8251, 0.9448))
    0.9000 (0.8251 to 0.9448)
    """

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found on `n` pictures.

    >>> figure = Estimate(0.5, 0.25, 0.75)
    >>> Evaluation(figure, figure, figure, n=4).as_json()["accuracy"]
    {'value': 0.5, 'low': 0.25, 'high': 0.75}
    """

    accuracy: Estimate
    nll: Estimate
    ece: Estimate
    n: int

    def as_json(self) -> dict:
        """Give plain dictionaries and numbers, the shape that `polyak evaluate --json` prints.

        >>> figure = Estimate(0.5, 0.25, 0.75)
        >>> sorted(Evaluation(figure, figure, figure, n=4).as_json())
        ['accuracy', 'ece', 'n', 'nll']
        """
        return asdict(self)


class Confusion(NamedTuple):
    """A way to go wrong: `pictures` of `truth`, a `share` of them, were taken for `taken_for`.

    >>> Confusion("cat", "dog", 3, 0.25).pictures
    3
    """

    truth: str
    taken_for: str
    pictures: int
    share: float


class PerClass(NamedTuple):
    """Precision and recall of every class, float64 (K,), and its number of pictures, int64 (K,).

    >>> PerClass(np.array([1.0]), np.array([0.5]), np.array([2])).recall
    array([0.5])
    """

    precision: np.ndarray
    recall: np.ndarray
    support: np.ndarray


def evaluate(probabilities, labels, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Measure accuracy, negative log-likelihood and calibration error, each with its interval.

    Args:
        probabilities: float (N, K); each row sums to 1 (`softmax` makes them from logits).
        labels: int (N,); the true classes.
        resamples: bootstrap resamples behind the intervals of NLL and calibration error.
        seed: of the resamples.

    Returns:
        Accuracy with Wilson's interval; NLL in nats (a probability of 0 counts as 1e-38) with the
        bootstrap's; expected calibration error over 15 bins of equal width. Noise adds to every
        bin, so a resample's calibration error is too large; the interval's low end is the value
        less what noise alone can add (triangle inequality over bins): well calibrated reaches 0.

    Raises:
        ValueError: shapes disagree, no pictures, labels outside 0..K-1, rows not probabilities.

    Source: Guo et al., "On calibration of modern neural networks", 2017; Efron, 1979; Wilson, 1927.

    >>> result = evaluate(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]))
    >>> [round(figure.value, 3) for figure in (result.accuracy, result.nll, result.ece)]
    [0.667, 0.415, 0.3]
    """
    probabilities, labels = _checked(probabilities, labels)
    if (np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1) > 1e-2).any():
        raise ValueError("each row of probabilities must sum to 1: pass logits through softmax")
    n = len(labels)
    right = probabilities.argmax(axis=1) == labels
    gaps = np.zeros((n, 1 + BINS))
    chosen = probabilities[np.arange(n), labels].astype(np.float64)
    gaps[:, 0] = -np.log(np.maximum(chosen, 1e-38))
    confidence = probabilities.max(axis=1).astype(np.float64)
    # bins are (low, high], as the source has them
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps[np.arange(n), 1 + bins] = right - confidence
    mean = gaps.mean(axis=0)
    drawn = _resampled_means(gaps, resamples, seed)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn[:, 0], [tail, 1 - tail])
    ece = float(np.abs(mean[1:]).sum())
    noise = np.quantile(np.abs(drawn[:, 1:] - mean[1:]).sum(axis=1), 1 - tail)
    most = np.quantile(np.abs(drawn[:, 1:]).sum(axis=1), 1 - tail)
    return Evaluation(
        accuracy=wilson(int(right.sum()), n),
        nll=Estimate(float(mean[0]), float(low), float(high)),
        ece=Estimate(ece, max(0.0, ece - float(noise)), min(1.0, max(ece, float(most)))),
        n=n,
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
    share, z = right / n, NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre = share + z**2 / (2 * n)
    reach = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = (centre - reach) / (1 + z**2 / n), (centre + reach) / (1 + z**2 / n)
    return Estimate(share, max(0.0, low), min(1.0, high))


def softmax(logits, temperature: float = 1.0) -> np.ndarray:
    """Turn logits (N, K) into probabilities of the same shape and type, whatever their size.

    Args:
        logits: float (N, K).
        temperature: divides the logits; above 1 is less sure.

    >>> softmax(np.array([[0.0, np.log(3.0)], [1000.0, 0.0]])).round(2).tolist()
    [[0.25, 0.75], [1.0, 0.0]]
    """
    logits = np.asarray(logits)
    result = np.empty_like(logits, dtype=np.result_type(logits.dtype, np.float32))
    for start in range(0, len(logits), _ROWS):
        rows = logits[start : start + _ROWS].astype(np.float64) / temperature
        odds = np.exp(rows - rows.max(axis=1, keepdims=True))
        result[start : start + _ROWS] = odds / odds.sum(axis=1, keepdims=True)
    return result


def fit_temperature(logits, labels) -> float:
    """Find the temperature, 0.05 to 20, that minimises the NLL of softmax(logits / temperature).

    NLL is convex in 1/temperature; its slope's root is found by Newton steps kept inside a bracket,
    so the result does not depend on a start or a seed. Where every picture is right no finite
    temperature is best (surer is always better): the answer is 1, nothing learnt.

    Args:
        logits: float (N, K), of pictures that were not trained on.
        labels: int (N,).

    Raises:
        ValueError: shapes disagree, no pictures, labels outside 0..K-1, logits that are not finite.

    Source: Guo et al., "On calibration of modern neural networks", 2017.

    >>> logits = np.log(np.array([[0.9, 0.1]] * 4))  # 90 % sure, right three times of four
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 4)
    2.0
    """
    logits, labels = _checked(logits, labels)
    if (logits.argmax(axis=1) == labels).all():
        return 1.0
    low, high, sharpness = 1 / 20, 1 / 0.05, 1.0
    for _ in range(60):
        slope, curvature = _slope(logits, labels, sharpness)
        low, high = (sharpness, high) if slope < 0 else (low, sharpness)
        step = sharpness - slope / curvature if curvature > 0 else low
        # a step that leaves the bracket is replaced by its middle, in ratio
        step = step if low < step < high else (low * high) ** 0.5
        if abs(step - sharpness) <= 1e-9 * sharpness:
            break
        sharpness = step
    return float(1 / sharpness)


def confusion_matrix(predicted, labels, classes: int) -> np.ndarray:
    """Count int64 (K, K): a row for each true class, a column for each predicted one.

    Args:
        predicted: int (N,).
        labels: int (N,).
        classes: K.

    >>> confusion_matrix([0, 1, 1], [0, 0, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def most_confused(confusion, names, top: int = 5) -> list[Confusion]:
    """List the most frequent mistakes, ties in the order of the classes.

    Args:
        confusion: int (K, K), from `confusion_matrix`.
        names: K class names.
        top: how many.

    >>> most_confused(np.array([[3, 1], [0, 2]]), ["cat", "dog"])
    [Confusion(truth='cat', taken_for='dog', pictures=1, share=0.25)]
    """
    wrong = np.array(confusion)
    support = wrong.sum(axis=1)
    np.fill_diagonal(wrong, 0)
    pairs = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:top].tolist():
        truth, taken = divmod(cell, len(wrong))
        if pictures := int(wrong[truth, taken]):
            share = pictures / int(support[truth])
            pairs.append(Confusion(names[truth], names[taken], pictures, share))
    return pairs


def per_class(confusion) -> PerClass:
    """Give precision and recall of every class; NaN where there is nothing to divide by.

    Args:
        confusion: int (K, K), from `confusion_matrix`.

    >>> per_class(np.array([[3, 1], [0, 2]])).recall
    array([0.75, 1.  ])
    """
    confusion = np.asarray(confusion)
    right, support = np.diag(confusion).astype(float), confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return PerClass(right / confusion.sum(axis=0), right / support, support)


def _checked(scores, labels) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be (N, K) and (N,)")
    if not len(labels):
        raise ValueError("no pictures to measure on")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"labels must be integers from 0 to {scores.shape[1] - 1}")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold numbers that are not finite")
    return scores, labels


def _resampled_means(values, resamples: int, seed: int) -> np.ndarray:
    """Draw rows of (N, M) with replacement, N each time: float64 (resamples, M), their means."""
    n = len(values)
    means = np.empty((resamples, values.shape[1]))
    for row in range(0, resamples, max(1, _DRAWS // n)):
        some = np.arange(row, min(resamples, row + max(1, _DRAWS // n)))
        drawn = keys.uniform("bootstrap", seed, some[:, None], np.arange(n)) * n
        cells = drawn.astype(np.int64) + (some[:, None] - row) * n
        counts = np.bincount(cells.ravel(), minlength=len(some) * n).reshape(len(some), n)
        means[some] = counts.astype(np.float64) @ values / n
    return means


def _slope(logits, labels, sharpness: float) -> tuple[float, float]:
    """First and second derivative of the mean NLL of softmax(sharpness * logits) by sharpness."""
    slope = curvature = 0.0
    for start in range(0, len(labels), _ROWS):
        rows = logits[start : start + _ROWS].astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        odds = softmax(rows * sharpness)
        mean = (odds * rows).sum(axis=1)
        slope += (mean - rows[np.arange(len(rows)), labels[start : start + _ROWS]]).sum()
        curvature += ((odds * rows**2).sum(axis=1) - mean**2).sum()
    return slope / len(labels), curvature / len(labels)
