"""Figures in which every class counts alike, however many images it has."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

UNEVEN = 2  # times as many images of the largest class as of the smallest: accuracy alone misleads


def uneven(labels: np.ndarray) -> bool:
    """Tell whether classes are of such different sizes that accuracy alone misleads.

    >>> uneven(np.array([0, 0, 1])), uneven(np.array([0, 0, 0, 1]))
    (False, True)
    """
    counts = np.bincount(np.asarray(labels, np.int64))
    counts = counts[counts > 0]
    return len(counts) > 1 and bool(counts.max() > UNEVEN * counts.min())


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Let each class count alike: float64 (N,), a weight an image, 1 on average.

    >>> class_weights(np.array([0, 0, 0, 1])).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    counts = np.bincount(np.asarray(labels, np.int64))
    return len(labels) / ((counts > 0).sum() * counts[labels])


def indicators(predicted: np.ndarray, labels: np.ndarray, classes: int) -> "csr_array":
    """Write what was predicted as a sparse matrix (N, 3 K) whose column sums count, by class, right
    answers, images, and predictions.

    >>> indicators(np.array([0, 0]), np.array([0, 1]), 2).sum(0).tolist()
    [1.0, 0.0, 1.0, 1.0, 2.0, 0.0]
    """
    from scipy.sparse import csr_array

    n = len(labels)
    rows = np.arange(n)
    right = rows[predicted == labels]
    row = np.concatenate([right, rows, rows])
    column = np.concatenate([labels[right], classes + labels, 2 * classes + predicted])
    return csr_array((np.ones(len(row)), (row, column)), shape=(n, 3 * classes))


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """Give the mean recall of the classes that have images: (...,), of counts (..., 3 K).

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010.

    >>> float(balanced_accuracy(np.array([3.0, 0, 3, 1, 4, 0])))  # one class of two is missed
    0.5
    """
    right, images, _ = np.split(np.asarray(counts, float), 3, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmean(np.where(images > 0, right / images, np.nan), axis=-1)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Give the mean F1 of the classes that have images or predictions: (...,), of (..., 3 K).

    Source: van Rijsbergen, "Information retrieval", 1979.

    >>> float(macro_f1(np.array([3.0, 0, 3, 1, 4, 0])).round(4))
    0.4286
    """
    right, images, predictions = np.split(np.asarray(counts, float), 3, axis=-1)
    either = images + predictions
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmean(np.where(either > 0, 2 * right / either, np.nan), axis=-1)
