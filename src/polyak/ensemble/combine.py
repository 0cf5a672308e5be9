"""Averaged predictions: the lecture's "average the results of n models", whatever the n are."""

from collections.abc import Sequence

import numpy as np


def combine(
    log_probabilities: np.ndarray,
    weights: Sequence[float] | None = None,
    of: str = "probabilities",
) -> np.ndarray:
    """Average what members or views say, in logarithms.

    Args:
        log_probabilities: float (M, ..., K): members or views, pictures, classes.
        weights: M numbers, zero or more; None counts all alike.
        of: "probabilities" (arithmetic mean), or "logits" (geometric mean, made to sum to 1).

    Returns:
        float (..., K): the logarithm of the mean probability.

    Raises:
        ValueError: nothing to average, or weights that are none.

    Source: slide "Model Ensembles"; Huang et al., "Snapshot ensembles", ICLR 2017.

    >>> two = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> np.exp(combine(two)).round(3).tolist(), np.exp(combine(two, of="logits")).round(3).tolist()
    ([[0.7, 0.3]], [[0.75, 0.25]])
    >>> np.exp(combine(two, weights=[3, 1])).round(3).tolist()
    [[0.8, 0.2]]
    """
    logs = np.asarray(log_probabilities)
    shares = _shares(weights, len(logs)).astype(logs.dtype)
    logs, shares = logs[shares > 0], shares[shares > 0]
    if len(logs) == 1:
        return logs[0]  # one member is that member, to the bit
    columns = shares.reshape(-1, *[1] * (logs.ndim - 1))
    if of == "logits":
        return _normalised((logs * columns).sum(axis=0))
    if of != "probabilities":
        raise ValueError(f"no mean of {of!r}: choose probabilities or logits")
    return _log_sum(logs, columns)


def disagreement(log_probabilities: np.ndarray, weights: Sequence[float] | None = None):
    """Say how far members lie from their mean: the probability that would have to move, on average.

    Args:
        log_probabilities: float (M, N, K), as for `combine`.
        weights: M numbers, as for `combine`.

    Returns:
        float (N,), from 0 (all members say the same) to less than 1: the weighted mean of the total
        variation distance between a member and the mean of all.

    >>> two = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> disagreement(two).round(3).tolist()
    [0.2]
    """
    shares = _shares(weights, len(log_probabilities))
    mean = np.exp(combine(log_probabilities, weights))
    distances = np.abs(np.exp(log_probabilities) - mean).sum(axis=-1) / 2
    return shares @ distances


def tempered(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide logits by a temperature and make them log-probabilities again, of the same shape.

    >>> np.exp(tempered(np.log([[0.8, 0.2]]), 2.0)).round(3).tolist()
    [[0.667, 0.333]]
    """
    if temperature == 1:
        return log_probabilities
    return _normalised(log_probabilities / log_probabilities.dtype.type(temperature))


def _shares(weights, members: int) -> np.ndarray:
    if members == 0:
        raise ValueError("nothing to average: give at least one member")
    given = np.ones(members) if weights is None else np.asarray(weights, np.float64)
    if given.shape != (members,) or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(f"weights {given.tolist()} are not {members} numbers of zero or more")
    if not given.sum() > 0:
        raise ValueError("every weight is zero")
    return given / given.sum()


def _normalised(logs):
    logs = logs - logs.max(axis=-1, keepdims=True)
    return logs - np.log(np.exp(logs).sum(axis=-1, keepdims=True))


def _log_sum(logs, columns):
    highest = logs.max(axis=0)
    # a class that every member rules out has logarithm -inf; shifting by it would give nan
    highest = np.where(np.isfinite(highest), highest, 0)
    with np.errstate(divide="ignore"):
        return np.log((np.exp(logs - highest) * columns).sum(axis=0)) + highest
