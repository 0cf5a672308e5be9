"""Figures of several labels an image: average precision, F1, calibration, thresholds."""

from dataclasses import dataclass

import numpy as np

from polyak import keys
from polyak.metrics.binary import as_binary, binary_losses
from polyak.metrics.calibration import BINS, bins_of
from polyak.metrics.figures import LEVEL, Estimate, Evaluation, wilson

THRESHOLD = 0.5  # of a label that too few images have to choose its own
FEWEST = 5  # images that must have a label, and as many that must not, to choose its threshold
_CELLS = 1 << 22  # numbers that the bootstrap works on at a time


@dataclass(frozen=True)
class LabelFigures:
    """Hold how well each label is told, float64 (K,); NaN where no image has it, or all have.

    >>> LabelFigures.of(np.array([[0.9], [0.2]]), np.array([[1], [0]]), np.array([0.5])).f1
    array([1.])
    """

    images: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    average_precision: np.ndarray

    @classmethod
    def of(
        cls, probabilities: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
    ) -> "LabelFigures":
        """Measure probabilities (N, K) against labels (N, K), decided at thresholds (K,)."""
        counts = _counts(probabilities, labels, thresholds)
        true, given, right = counts.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return cls(
                true.astype(int), right / given, right / true, _f1(true, given, right),
                _precisions(probabilities, labels, np.ones((1, len(labels))))[0],
            )  # fmt: skip


def evaluate_several(
    probabilities: np.ndarray,
    labels: np.ndarray,
    thresholds: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure several labels an image, each figure with its 95 % interval.

    Args:
        probabilities: float (N, K), of having each label.
        labels: int (N, K), 1, 0, or below 0 where nobody knows.
        thresholds: float (K,), from which on a label is given.
        resamples: bootstrap resamples, of images, behind the intervals.
        seed: of the resamples.

    Returns:
        `accuracy`: images all of whose known labels are right; `map`: mean average precision, over
        labels that some image has; `f1`: its mean over labels; `micro_f1`: of all decisions
        together; `nll`: of an image, its labels together, nats; `ece`: of all decisions together,
        over 15 bins of how sure they are.

    Raises:
        ValueError: shapes disagree, or there is no image.

    Source: Everingham et al., "The Pascal visual object classes challenge", IJCV 2010; Davis &
    Goadrich 2006 (average precision as a sum over thresholds, as scikit-learn has it).

    >>> odds, labels = np.array([[0.9, 0.2], [0.3, 0.6]]), np.array([[1, 0], [0, 0]])
    >>> found = evaluate_several(odds, labels, np.full(2, 0.5))
    >>> found.accuracy.value, found.map.value, round(found.micro_f1.value, 3)
    (0.5, 1.0, 0.667)
    """
    p, labels = np.asarray(probabilities), np.asarray(labels)
    if p.ndim != 2 or p.shape != labels.shape or not len(p):
        raise ValueError(f"probabilities {p.shape} and labels {labels.shape} must be (N, K) alike")
    n = len(p)
    right = ((p >= thresholds) == (labels > 0)) | (labels < 0)
    losses = binary_losses(np.log(np.maximum(p.astype(np.float64), 1e-38)), labels)
    counts, gaps = _counts(p, labels, thresholds), _gaps(p, labels)
    found: dict[str, list[np.ndarray]] = {}
    whole, bins = (
        _figures(np.ones((1, n)), losses, counts, p, labels),
        _bins(np.ones((1, n)), gaps),
    )
    for weights in _draws(n, p.shape[1], resamples, seed):
        drawn = _figures(weights, losses, counts, p, labels)
        binned = _bins(weights, gaps)
        drawn |= {"ece": np.abs(binned).sum(1), "noise": np.abs(binned - bins).sum(1)}
        for name, values in drawn.items():
            found.setdefault(name, []).append(values)
    every = {name: np.concatenate(values) for name, values in found.items()}
    ece = float(np.abs(bins).sum())
    # noise adds to every bin: the low end is the value less what noise alone can add
    noise, most = (float(np.quantile(every[name], (1 + LEVEL) / 2)) for name in ("noise", "ece"))
    return Evaluation(
        accuracy=wilson(int(right.all(1).sum()), n),
        ece=Estimate(ece, max(0.0, ece - noise), max(ece, most)),
        n=n,
        **{name: _estimate(whole[name][0], every[name]) for name in whole},
    )


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Give the mean average precision of scores (N, K), over the labels that some image has.

    >>> mean_average_precision(np.array([[0.9], [0.2], [0.3]]), np.array([[1], [0], [1]]))
    1.0
    """
    return float(_mean(_precisions(scores, labels, np.ones((1, len(labels)))))[0])


def choose_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Choose for each label from which probability on it is given: float64 (K,).

    Of the best F1 on these images, halfway between the two probabilities that it lies between; 0.5
    for a label that fewer than five images have, or have not.

    Args:
        probabilities: float (N, K), of images that did not train.
        labels: int (N, K), 1, 0, or below 0 where nobody knows.

    Source: Lipton, Elkan & Naryanaswamy, "Optimal thresholding of classifiers to maximize F1
    measure", 2014.

    >>> odds = np.array([[0.1], [0.2], [0.3], [0.35], [0.38]] + [[0.4]] * 5)
    >>> choose_thresholds(odds, np.repeat([0, 1], 5)[:, None]).round(3).tolist()
    [0.39]
    """
    chosen = np.full(probabilities.shape[1], THRESHOLD)
    for number in range(len(chosen)):
        known = labels[:, number] >= 0
        p, truth = probabilities[known, number].astype(np.float64), labels[known, number] > 0
        if min(truth.sum(), (~truth).sum()) < FEWEST:
            continue
        order = np.argsort(-p, kind="stable")
        p, truth = p[order], truth[order]
        f1 = 2 * np.cumsum(truth) / (np.arange(1, len(p) + 1) + truth.sum())
        ends = np.append(p[1:] != p[:-1], True)  # equal ones are given together
        best = int(np.argmax(np.where(ends, f1, -1)))
        below = p[best + 1] if best + 1 < len(p) else 0.0
        chosen[number] = (p[best] + below) / 2
    return chosen


def _counts(p: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which labels an image has, is given, and is rightly given: bool (3, N, K)."""
    known = labels >= 0
    true, given = labels > 0, (p >= thresholds) & known
    return np.stack([true, given, true & given])


def _f1(true: np.ndarray, given: np.ndarray, right: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(true + given > 0, 2 * right / (true + given), np.nan)


def _gaps(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rightness less sureness of each image's decisions, summed by bin of sureness: (N, BINS + 1),
    the last column counting decisions.
    """
    logs, answers = as_binary(np.log(np.maximum(p.astype(np.float64), 1e-38)), labels)
    odds = np.exp(logs)
    sure, right = odds.max(1), odds.argmax(1) == answers
    rows = np.nonzero(labels >= 0)[0]
    found = np.zeros((len(p), BINS + 1))
    np.add.at(found, (rows, bins_of(sure)), right - sure)
    np.add.at(found[:, BINS], rows, 1)
    return found


def _draws(n: int, classes: int, resamples: int, seed: int):
    """Yield how often each image is drawn, some resamples at a time: float (R, N)."""
    step = max(1, _CELLS // max(n * max(1, classes // 8), 1))
    for row in range(0, resamples, step):
        some = np.arange(row, min(resamples, row + step))
        drawn = (keys.uniform("bootstrap", seed, some[:, None], np.arange(n)) * n).astype(np.int64)
        cells = drawn + (some[:, None] - row) * n
        yield np.bincount(cells.ravel(), minlength=len(some) * n).reshape(-1, n).astype(float)


def _bins(weights: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Rightness less sureness by bin, of all decisions of resamples: (R, BINS)."""
    binned = weights @ gaps
    return binned[:, :-1] / np.maximum(binned[:, -1:], 1)


def _figures(weights, losses, counts, p, labels) -> dict[str, np.ndarray]:
    """Measure resamples, (R, N): name -> (R,)."""
    true, given, right = (weights @ one.astype(float) for one in counts)
    with np.errstate(invalid="ignore"):
        return {
            "nll": weights @ losses / weights.sum(1),
            "map": _mean(_precisions(p, labels, weights)),
            "f1": _mean(_f1(true, given, right)),
            "micro_f1": _f1(true.sum(1), given.sum(1), right.sum(1)),
        }


def _mean(values: np.ndarray) -> np.ndarray:
    """Average over labels, (R, K) to (R,), those that have a figure; 0 where none has."""
    counted = ~np.isnan(values)
    return np.where(counted, values, 0).sum(1) / np.maximum(counted.sum(1), 1)


def _precisions(p: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of each label in resamples (R, N): (R, K), NaN where no image has it."""
    found = np.full((len(weights), p.shape[1]), np.nan)
    for number in range(p.shape[1]):
        known = np.flatnonzero(labels[:, number] >= 0)
        order = known[np.argsort(-p[known, number], kind="stable")]
        score, drawn = p[order, number], weights[:, order]
        if not len(order):
            continue
        ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(order) - 1)
        hits = np.cumsum(drawn * (labels[order, number] > 0), 1)[:, ends]
        every = np.cumsum(drawn, 1)[:, ends]
        gained = np.diff(hits, axis=1, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = np.where(every > 0, gained * hits / every, 0).sum(1)
            found[:, number] = np.where(hits[:, -1] > 0, parts / hits[:, -1], np.nan)
    return found


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    tail = (1 - LEVEL) / 2
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (value, value)
    value = 0.0 if np.isnan(value) else float(value)
    return Estimate(value, min(float(low), value), max(float(high), value))
