"""What all figures ask of their arrays."""

from collections.abc import Iterator
from types import EllipsisType

import numpy as np
from numpy.typing import ArrayLike

CELLS = 1 << 20  # numbers worked on at a time: thousands of classes stay in the cache, and small


def blocks(scores: np.ndarray) -> Iterator[slice | EllipsisType]:
    """Cut scores (N, ..., K) into rows to be worked on at a time; those of one image are whole.

    >>> list(blocks(np.zeros((3, CELLS))))
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    >>> list(blocks(np.zeros(3)))
    [Ellipsis]
    """
    if scores.ndim < 2:
        yield ...
        return
    step = max(1, CELLS // max(1, scores[:1].size))
    yield from (slice(start, start + step) for start in range(0, len(scores), step))


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
