"""Several labels an image, each of which it has or has not: probabilities, and two classes of each.

A label is 1 where the image has it, 0 where not, and below 0 where nobody knows; what is not known
takes part in no figure.
"""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from polyak.metrics.probabilities import TINY, negative_log

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


def log_sigmoid(logits: Array, temperature: float = 1.0) -> Array:
    """Turn logits, (..., K), into the logarithm of each label's probability.

    >>> np.exp(log_sigmoid(np.array([[0.0, -800.0]]))).round(3).tolist()
    [[0.5, 0.0]]
    """
    scores: Any = logits
    scores = scores if temperature == 1 else scores / temperature
    if hasattr(scores, "log_softmax"):  # a tensor
        return scores.clamp(max=0) - (-scores.abs()).exp().log1p()
    return np.minimum(scores, 0) - np.log1p(np.exp(-np.abs(scores)))


def log_odds(log_probs: Array) -> Array:
    """Turn log-probabilities, (..., K), back into logits: log p - log(1 - p).

    >>> log_odds(np.log([[0.5, 0.75]])).round(4).tolist()  # log 3
    [[0.0, 1.0986]]
    """
    found: Any = log_probs
    if hasattr(found, "log_softmax"):
        found = found.clamp(max=-TINY)
        return found - (-found.expm1()).log()
    found = np.minimum(found, -TINY)
    with np.errstate(divide="ignore", invalid="ignore"):
        return found - np.log(-np.expm1(found))


def as_binary(log_probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ask one question a label that is known: has the image it?

    Args:
        log_probs: float (..., N, K), of having each label.
        labels: int (N, K), 1, 0, or below 0 where nobody knows.

    Returns:
        (log-probabilities of no and yes, float (..., M, 2); answers, int64 (M,)), images in order
        and the labels of each.

    >>> logs, answers = as_binary(np.log([[0.25, 0.5]]), np.array([[1, -1]]))
    >>> np.exp(logs).round(3).tolist(), answers.tolist()
    ([[0.75, 0.25]], [1])
    """
    known = labels >= 0
    yes = np.minimum(np.asarray(log_probs)[..., known], -TINY)
    with np.errstate(divide="ignore"):
        no = np.log(-np.expm1(yes))
    return np.stack([no, yes], -1).astype(yes.dtype), labels[known].astype(np.int64)


def binary_losses(log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give the negative log-likelihood of each image, nats, float64 (N,): of all its known labels.

    >>> binary_losses(np.log([[0.5, 0.75]]), np.array([[1, 1]])).round(4).tolist()
    [0.9808]
    """
    logs, answers = as_binary(log_probs, labels)
    losses = np.zeros(labels.shape)
    true = np.exp(logs[np.arange(len(answers)), answers].astype(np.float64))
    losses[labels >= 0] = negative_log(true)
    return losses.sum(1)
