"""Which members to keep: greedily, by what they say of pictures that were held out."""

import numpy as np

from polyak.ensemble.combine import combine


def greedy(log_probabilities: np.ndarray, labels: np.ndarray) -> list[int]:
    """Choose m of M members: begin with the best, add whoever lowers the NLL of the mean most.

    Args:
        log_probabilities: float (M, N, K) of held-out pictures.
        labels: int (N,).

    Returns:
        Positions of the chosen members, in the order of the members.

    Raises:
        ValueError: no members or no pictures.

    Source: Caruana et al., "Ensemble selection from libraries of models", ICML 2004, each member
    at most once.

    >>> sure, wrong, other = [[0.9, 0.1], [0.6, 0.4]], [[0.1, 0.9]] * 2, [[0.6, 0.4], [0.9, 0.1]]
    >>> greedy(np.log([sure, wrong, other]), np.array([0, 0]))
    [0, 2]
    """
    if not len(log_probabilities) or not len(labels):
        raise ValueError("choosing takes members, and pictures with labels")
    chosen: list[int] = []
    left, best = list(range(len(log_probabilities))), np.inf
    while left:
        tried = [nll(combine(log_probabilities[[*chosen, one]]), labels) for one in left]
        winner = int(np.argmin(tried))
        if not tried[winner] < best:
            break
        best = tried[winner]
        chosen.append(left.pop(winner))
    return sorted(chosen)


def nll(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood, nats, of log-probabilities (N, K); -inf counts as -87.5.

    >>> round(nll(np.log([[0.5, 0.5]]), np.array([1])), 3)
    0.693
    """
    told = log_probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.maximum(told, -87.5).mean())  # exp(-87.5) is float32's smallest number
