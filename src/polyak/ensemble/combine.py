"""Averaged predictions: the lecture's "average the results of n models", whatever the n are."""

from collections.abc import Iterator, Sequence
from types import EllipsisType

import numpy as np

_CELLS = 1 << 22  # numbers that are worked on at once: 16 MiB


def combine(
    log_probabilities: np.ndarray | Sequence[np.ndarray],
    weights: Sequence[float] | None = None,
    of: str = "probabilities",
) -> np.ndarray:
    """Average what members or views say, in logarithms.

    Args:
        log_probabilities: float (M, ..., K): members or views, pictures, classes; or a list of M.
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
    parts = [np.asarray(part) for part in log_probabilities]
    shares = _shares(weights, len(parts)).astype(parts[0].dtype if parts else float)
    parts = [part for part, share in zip(parts, shares, strict=True) if share > 0]
    shares = shares[shares > 0]
    if len(parts) == 1:
        return parts[0]  # one member is that member, to the bit
    if of not in ("probabilities", "logits"):
        raise ValueError(f"no mean of {of!r}: choose probabilities or logits")
    result = np.empty_like(parts[0])
    for rows in _blocks(parts):  # each mean is its row's alone, and its steps take memory
        logs = np.stack([part[rows] for part in parts])
        columns = shares.reshape(-1, *[1] * (logs.ndim - 1))
        one = (
            _normalised((logs * columns).sum(axis=0)) if of == "logits" else _log_sum(logs, columns)
        )
        result[rows] = one
    return result


def _blocks(parts: list[np.ndarray]) -> Iterator[slice | EllipsisType]:
    """Cut M arrays (N, ..., K) to rows that are worked on at once; those of one row are whole."""
    if parts[0].ndim < 2:
        yield ...
        return
    step = max(1, _CELLS // max(1, len(parts) * parts[0][:1].size))
    yield from (slice(start, start + step) for start in range(0, len(parts[0]), step))


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
    distances = [np.abs(np.exp(logs) - mean).sum(axis=-1) / 2 for logs in log_probabilities]
    return shares @ np.stack(distances)


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
