"""Averaged predictions: the lecture's "average the results of n models", whatever the n are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from polyak.ensemble.select import greedy
from polyak.metrics import fit_temperature
from polyak.metrics.arrays import blocks
from polyak.targets import SINGLE_LABEL, TargetKind

Array = TypeVar("Array", np.ndarray, Tensor)


def combine(
    log_probs: Array | Sequence[Array],
    weights: Sequence[float] | np.ndarray | None = None,
    of: str = "probabilities",
    kind: TargetKind = SINGLE_LABEL,
) -> Array:
    """Average what members or views predict, in logarithms; arrays and tensors by one text.

    Args:
        log_probs: float (M, ..., K): members or views, images, classes; or M of (..., K).
        weights: M numbers, zero or more; None counts all alike.
        of: "probabilities" (arithmetic mean), or "logits" (geometric mean, made to sum to 1).
        kind: of the targets; only a mean of logits depends on it.

    Returns:
        float (..., K): the logarithm of the mean probability.

    Raises:
        ValueError: nothing to average, or weights that are none.

    Source: slide "Model Ensembles"; Huang et al., "Snapshot ensembles", ICLR 2017.

    >>> two = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> np.exp(combine(two)).round(3).tolist(), np.exp(combine(two, of="logits")).round(3).tolist()
    ([[0.7, 0.3]], [[0.75, 0.25]])
    >>> combine(torch.tensor(two), weights=[3, 1]).exp()
    tensor([[0.8000, 0.2000]], dtype=torch.float64)
    """
    shares = _shares(weights, len(log_probs))
    members: Any = [log_probs[i] for i, share in enumerate(shares) if share > 0]
    shares = [share for share in shares if share > 0]
    if len(members) == 1:
        return members[0]  # one member is that member, to the bit
    if of not in ("probabilities", "logits"):
        raise ValueError(f"no mean of {of!r}: choose probabilities or logits")
    mean = _log_mean if of == "probabilities" else partial(_mean_log, kind=kind)
    if isinstance(members[0], Tensor):
        return mean(members, shares)
    result: Any = np.empty_like(members[0], dtype=np.result_type(*members))
    for rows in blocks(members[0]):  # each mean is its row's alone, and its steps take memory
        result[rows] = mean([one[rows] for one in members], shares)
    return result


def tempered(log_probs: Array, temperature: float, kind: TargetKind = SINGLE_LABEL) -> Array:
    """Divide log-probabilities by a temperature and normalise them again; at 1 they stay as is.

    Args:
        log_probs: float (..., K).
        temperature: above 0; above 1 is less sure.
        kind: of the targets.

    >>> np.exp(tempered(np.log([[0.8, 0.2]]), 2.0)).round(3).tolist()
    [[0.667, 0.333]]
    """
    return log_probs if temperature == 1 else kind.log_probs(kind.logits(log_probs), temperature)


def disagreement(
    log_probs: np.ndarray, weights: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """Say how far members lie from their mean: the probability that would have to move, on average.

    Args:
        log_probs: float (M, N, K), as for `combine`.
        weights: M numbers, as for `combine`.

    Returns:
        float (N,), from 0 (all members predict the same) to less than 1: the weighted mean of the
        total variation distance between a member and the mean of all.

    >>> two = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> disagreement(two).round(3).tolist()
    [0.2]
    """
    mean = np.exp(combine(log_probs, weights))
    # a member at a time: with thousands of classes each is large
    distances = [np.abs(np.exp(one) - mean).sum(axis=-1) / 2 for one in log_probs]
    return np.array(_shares(weights, len(log_probs))) @ np.stack(distances)


@dataclass(frozen=True)
class CalibratedMean:
    """Average members, each at its own temperature and with its own weight.

    Args:
        temperatures: M numbers above 0, of the members alone.
        weights: M numbers, zero or more; those of weight 0 do not take part.
        of: "probabilities" or "logits", as for `combine`.
        kind: of the targets.

    >>> CalibratedMean((1.0, 2.0), (1.0, 0.0))(np.log([[[0.9, 0.1]], [[0.5, 0.5]]])).shape
    (1, 2)
    """

    temperatures: Sequence[float]
    weights: Sequence[float]
    of: str = "probabilities"
    kind: TargetKind = SINGLE_LABEL

    def __call__(self, log_probs: Array | Sequence[Array]) -> Array:
        """Average (M, N, K) to (N, K), the logarithm of the mean probability."""
        pairs = zip(log_probs, self.temperatures, strict=True)
        parts: Any = [tempered(one, t, self.kind) for one, t in pairs]
        return combine(parts, self.weights, self.of, self.kind)

    @classmethod
    def fit(
        cls, log_probs: np.ndarray | Sequence[np.ndarray], labels: np.ndarray, draws: int = 20
    ) -> "CalibratedMean":
        """Calibrate every member on held-out images, then choose and weigh them by `greedy`.

        Args:
            log_probs: float (M, N, K), or M of (N, K), of images that no member was trained on.
            labels: int (N,).
            draws: as for `greedy`.

        >>> sure, wrong = [[0.9, 0.1], [0.8, 0.2]], [[0.1, 0.9], [0.3, 0.7]]
        >>> CalibratedMean.fit(np.log([sure, wrong]), np.array([0, 0])).weights
        (1, 0)
        """
        temperatures = tuple(fit_temperature(one, labels) for one in log_probs)
        calibrated = [tempered(one, t) for one, t in zip(log_probs, temperatures, strict=True)]
        chosen = greedy(np.stack(calibrated), labels, draws)
        return cls(temperatures, tuple(chosen.count(number) for number in range(len(log_probs))))


def _log_mean(members: Any, shares: list[float]) -> Any:
    """Average probabilities, in logarithms."""
    library: Any = torch if isinstance(members[0], Tensor) else np
    highest = reduce(library.maximum, members)
    # a class that every member rules out has logarithm -inf; shifting by it would give nan
    highest = highest.clip(min=library.finfo(highest.dtype).min)
    odds = (share * library.exp(one - highest) for share, one in zip(shares, members, strict=True))
    with np.errstate(divide="ignore"):
        return library.log(sum(odds)) + highest


def _mean_log(members: Any, shares: list[float], kind: TargetKind) -> Any:
    """Average logits."""
    logits = (share * kind.logits(one) for share, one in zip(shares, members, strict=True))
    mean: Any = sum(logits)
    return kind.log_probs(mean)


def _shares(weights: Sequence[float] | np.ndarray | None, members: int) -> list[float]:
    if members == 0:
        raise ValueError("nothing to average: give at least one member")
    given = np.ones(members) if weights is None else np.asarray(weights, np.float64)
    if given.shape != (members,) or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(f"weights {given.tolist()} are not {members} numbers of zero or more")
    if not given.sum() > 0:
        raise ValueError("every weight is zero")
    return (given / given.sum()).tolist()
