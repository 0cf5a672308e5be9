"""What all figures ask of their arrays."""

import numpy as np
from numpy.typing import ArrayLike


def checked(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Take scores (N, K) and labels (N,) as arrays that fit, or say in a ValueError why not."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be (N, K) and (N,)")
    if not len(labels):
        raise ValueError("no images to measure on")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"labels must be integers from 0 to {scores.shape[1] - 1}")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold numbers that are not finite")
    return scores, labels
