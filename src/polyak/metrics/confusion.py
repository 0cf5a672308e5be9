"""What is taken for what: confusion, classes one by one, labels that are worth checking."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from polyak.errors import counted
from polyak.metrics.arrays import checked
from polyak.metrics.figures import wilson

FEW = 3  # images of a class, of which none right says something


class Confusion(NamedTuple):
    """A way to go wrong: `images` of `truth`, a `share` of them, were taken for `taken_for`.

    >>> Confusion("cat", "dog", 3, 0.25).images
    3
    """

    truth: str
    taken_for: str
    images: int
    share: float


class PerClass(NamedTuple):
    """Precision and recall of every class, float64 (K,), and its number of images, int64 (K,).

    >>> PerClass(np.array([1.0]), np.array([0.5]), np.array([2])).recall
    array([0.5])
    """

    precision: np.ndarray
    recall: np.ndarray
    support: np.ndarray


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Count int64 (K, K): a row for each true class, a column for each predicted one.

    Args:
        predicted: int (N,).
        labels: int (N,).
        classes: K.

    >>> confusion_matrix([0, 1, 1], [0, 0, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    from sklearn.metrics import confusion_matrix as counted  # takes a while to import

    return counted(labels, predicted, labels=np.arange(classes))


def most_confused(confusion: np.ndarray, names: Sequence[str], top: int = 5) -> list[Confusion]:
    """List the most frequent mistakes, ties in the order of the classes.

    Args:
        confusion: int (K, K), from `confusion_matrix`.
        names: K class names.
        top: how many.

    >>> most_confused(np.array([[3, 1], [0, 2]]), ["cat", "dog"])
    [Confusion(truth='cat', taken_for='dog', images=1, share=0.25)]
    """
    confusion = np.asarray(confusion)
    support, pairs = confusion.sum(axis=1), []
    # of the square of many classes few cells hold something, and they alone are sorted
    truths, predicted = np.nonzero(confusion)
    wrong = truths != predicted
    truths, predicted = truths[wrong], predicted[wrong]
    counts = confusion[truths, predicted]
    for i in np.argsort(-counts, kind="stable")[:top].tolist():
        images, truth, other = int(counts[i]), int(truths[i]), int(predicted[i])
        share = images / int(support[truth])
        pairs.append(Confusion(names[truth], names[other], images, share))
    return pairs


def per_class(confusion: np.ndarray) -> PerClass:
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


def cautions(confusion: np.ndarray, names: Sequence[str]) -> list[str]:
    """Say where accuracy alone misleads: no better than one answer for all, classes never right.

    Args:
        confusion: int (K, K), from `confusion_matrix`, of at least one image.
        names: K class names.

    Source: Japkowicz & Stephen, "The class imbalance problem: a systematic study", 2002.

    >>> uneven, missed = cautions(np.array([[60, 0], [8, 0]]), ["cat", "dog"])
    >>> uneven[:45], missed
    ('always answering cat would be right on 88.2 %', 'never right: dog (0 of 8 images)')
    >>> cautions(np.array([[9, 1], [2, 8]]), ["cat", "dog"])
    []
    """
    confusion = np.asarray(confusion)
    support, right = confusion.sum(axis=1), np.diag(confusion)
    n, lines = int(support.sum()), []
    share = support.max() / n
    helpless = wilson(int(right.sum()), n).low <= share
    if helpless:
        lines.append(
            f"always answering {names[support.argmax()]} would be right on {100 * share:.1f} %, "
            "which the interval of the accuracy does not exclude: judge by the recall of each class"
        )
    missed = np.flatnonzero((right == 0) & (support >= (1 if helpless else FEW)))
    if len(missed):
        some = ", ".join(f"{names[i]} (0 of {counted(support[i], 'image')})" for i in missed[:5])
        lines.append(f"never right: {some}{', ...' * (len(missed) > 5)}")
    return lines


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """List images whose label is worth checking, the likeliest to be wrong first: int64 positions.

    How many of them are wrong depends on how good the model is: state its accuracy on the same
    images beside them. An image is suspect when another class is likelier than its own and at least
    as likely as it is, on average, for images that carry that class's label.

    Args:
        probabilities: float (N, K), of images that were not trained on.
        labels: int (N,), as given.

    Source: Northcutt, Jiang, Chuang, "Confident learning", 2021.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]])
    >>> suspects(p, np.array([0, 0, 1, 1]))
    array([3])
    """
    probabilities, labels = checked(probabilities, labels)
    n, k = probabilities.shape
    own = probabilities[np.arange(n), labels].astype(np.float64)
    support = np.bincount(labels, minlength=k)
    usual = np.bincount(labels, own, k) / np.maximum(support, 1)
    usual[support == 0] = np.inf
    other = np.where(probabilities >= usual, probabilities, -np.inf)
    other[np.arange(n), labels] = -np.inf
    margin = other.max(axis=1) - own
    found = np.flatnonzero(margin > 0)
    return found[np.argsort(-margin[found], kind="stable")]
