"""Softmax at a temperature, and the negative log-likelihood: each once, for whoever needs it."""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy import special

from polyak.metrics.arrays import blocks

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")
TINY = float(np.finfo(np.float32).tiny)  # the least probability that counts; less counts as this


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Turn logits into probabilities of the same shape and type, whatever their size.

    Args:
        logits: float (N, K); an array, computed in double precision, or a tensor.
        temperature: divides the logits; above 1 is less sure.

    >>> softmax(np.array([[0.0, np.log(3.0)], [1000.0, 0.0]])).round(2).tolist()
    [[0.25, 0.75], [1.0, 0.0]]
    """
    scores: Any = logits
    if _is_tensor(scores):
        return _scaled(scores, temperature).softmax(-1)
    scores = np.asarray(scores)
    result: Any = np.empty_like(scores, dtype=np.result_type(scores.dtype, np.float32))
    for rows in blocks(scores):  # the steps take memory
        result[rows] = special.softmax(scores[rows].astype(np.float64) / temperature, axis=1)
    return result


def log_softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Turn logits (or log-probabilities) into log-probabilities of the same shape and type.

    Args:
        logits: float (..., K), an array or a tensor.
        temperature: divides the logits; above 1 is less sure.

    >>> np.exp(log_softmax(np.log([[0.8, 0.2]]), 2.0)).round(3).tolist()
    [[0.667, 0.333]]
    """
    scores: Any = logits
    if _is_tensor(scores):
        return _scaled(scores, temperature).log_softmax(-1)
    scores = np.asarray(scores)
    result: Any = np.empty_like(scores, dtype=np.result_type(scores.dtype, np.float32))
    for rows in blocks(scores):
        result[rows] = special.log_softmax(_scaled(scores[rows], temperature), axis=-1)
    return result


def negative_log(probabilities: np.ndarray) -> np.ndarray:
    """Give -log p in nats, float64 of the same shape; p below float32's least counts as that, 87.3.

    >>> negative_log(np.array([0.5, 0.0])).round(3).tolist()
    [0.693, 87.337]
    """
    return -np.log(np.maximum(np.asarray(probabilities, np.float64), TINY))


def losses(log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give the negative log-likelihood of each image, nats, float64 (N,).

    Args:
        log_probs: float (N, K).
        labels: int (N,), the true classes.

    >>> losses(np.log([[0.5, 0.5], [0.75, 0.25]]), np.array([1, 0])).round(3).tolist()
    [0.693, 0.288]
    """
    true = np.asarray(log_probs)[np.arange(len(labels)), labels]
    return negative_log(np.exp(true.astype(np.float64)))


def nll(log_probs: np.ndarray, labels: np.ndarray) -> float:
    """Give the mean negative log-likelihood, nats, of log-probabilities (N, K).

    >>> round(nll(np.log([[0.5, 0.5], [0.75, 0.25]]), np.array([1, 0])), 3)
    0.49
    """
    return float(losses(log_probs, labels).mean())


def accuracy_and_nll(log_probs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Give the accuracy and the mean negative log-likelihood, nats, of log-probabilities (N, K).

    >>> accuracy_and_nll(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([1, 1]))[0]
    0.5
    """
    return float((log_probs.argmax(axis=1) == labels).mean()), nll(log_probs, labels)


def _scaled(scores: Any, temperature: float) -> Any:
    return scores if temperature == 1 else scores / temperature


def _is_tensor(scores: object) -> bool:
    # asked by what it can do, so that arrays alone never import torch
    return hasattr(scores, "log_softmax")
