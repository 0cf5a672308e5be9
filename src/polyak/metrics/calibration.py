"""How far probabilities can be trusted: reliability, and the temperature that mends them."""

from typing import NamedTuple

import numpy as np

from polyak.metrics.arrays import blocks, checked
from polyak.metrics.probabilities import softmax

BINS = 15
_ROWS = 4096  # images whose terms are summed at a time


class Reliability(NamedTuple):
    """Mean confidence, accuracy and number of images of each bin that has any, float64 (B,).

    >>> Reliability(np.array([0.9]), np.array([0.8]), np.array([5.0])).accuracy
    array([0.8])
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    images: np.ndarray


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> Reliability:
    """Compare how sure a model is with how often it is right, in the bins of `evaluate`.

    Args:
        probabilities: float (N, K).
        labels: int (N,).

    Source: DeGroot & Fienberg, 1983; Guo et al., 2017.

    >>> found = reliability(np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([0, 0]))
    >>> found.confidence.round(2), found.accuracy, found.images
    (array([0.9]), array([0.5]), array([2.]))
    """
    probabilities, labels = checked(probabilities, labels)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = bins_of(confidence)
    images, sure, won = (
        np.bincount(bins, weights, BINS).astype(float) for weights in (None, confidence, right)
    )
    used = images > 0
    return Reliability(sure[used] / images[used], won[used] / images[used], images[used])


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """Number the bin of each confidence; bins are (low, high], as Guo et al. have them."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def fit_temperature(
    logits: np.ndarray,
    labels: np.ndarray,
    prior_std: float = 0.5,
    weights: np.ndarray | None = None,
) -> float:
    """Find the temperature, 0.05 to 20, that minimises the NLL of softmax(logits / temperature).

    The slope's root is found by Newton steps kept inside a bracket, so the result does not depend
    on a start or a seed. Where all images are right, or nearly all, surer would be better without
    end, a bet that others hold no mistakes either; a normal prior on the logarithm keeps it modest.

    Args:
        logits: float (N, K), of images that were not trained on.
        labels: int (N,).
        prior_std: standard deviation of the prior of log(temperature) around 0, worth one
            observation however many images there are; infinite: the data alone decide, and where
            no finite temperature is best (no mistake among them) the answer is 1.
        weights: float (N,), how much each image counts, 1 on average; None counts all alike.

    Raises:
        ValueError: shapes disagree, no images, labels outside 0..K-1, logits that are not finite.

    Source: Guo et al., "On calibration of modern neural networks", 2017.

    >>> logits = np.log(np.array([[0.9, 0.1]] * 4))  # 90 % sure, right three times of four
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1]), prior_std=np.inf), 4)
    2.0
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 4)
    1.217
    """
    logits, labels = checked(logits, labels)
    prior = 1 / (prior_std**2 * len(labels))
    if prior_std == np.inf and (logits.argmax(axis=1) == labels).all():
        return 1.0
    low, high, sharpness = 1 / 20, 1 / 0.05, 1.0
    for _ in range(60):
        slope, curvature = _slope(logits, labels, sharpness, weights)
        slope += prior * np.log(sharpness) / sharpness
        curvature += prior * (1 - np.log(sharpness)) / sharpness**2
        low, high = (sharpness, high) if slope < 0 else (low, sharpness)
        step = sharpness - slope / curvature if curvature > 0 else low
        # a step that leaves the bracket is replaced by its middle, in ratio
        step = step if low < step < high else (low * high) ** 0.5
        if abs(step - sharpness) <= 1e-9 * sharpness:
            break
        sharpness = step
    return float(1 / sharpness)


def _slope(
    logits: np.ndarray, labels: np.ndarray, sharpness: float, weights: np.ndarray | None
) -> tuple[float, float]:
    """First and second derivative of the mean NLL of softmax(sharpness * logits) by sharpness."""
    slope = curvature = 0.0
    first, second = np.empty(len(labels)), np.empty(len(labels))
    for part in blocks(logits):
        rows = logits[part].astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        odds = softmax(rows * sharpness)
        mean = (odds * rows).sum(axis=1)
        first[part] = mean - rows[np.arange(len(rows)), labels[part]]
        second[part] = (odds * rows**2).sum(axis=1) - mean**2
    if weights is not None:
        first, second = first * weights, second * weights
    # summed by the same rows however many classes there are
    for start in range(0, len(labels), _ROWS):
        slope += first[start : start + _ROWS].sum()
        curvature += second[start : start + _ROWS].sum()
    return slope / len(labels), curvature / len(labels)
