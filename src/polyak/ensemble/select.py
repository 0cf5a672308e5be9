"""Which members to keep: greedily, by what they say of pictures that were held out."""

import numpy as np

LEAST = float(np.finfo(np.float32).tiny)  # a probability that a float32 can hold


def greedy(log_probabilities: np.ndarray, labels: np.ndarray, draws: int = 20) -> list[int]:
    """Choose members and how much each counts: again and again, draw whoever lowers the NLL of the
    mean most.

    Args:
        log_probabilities: float (M, N, K) of held-out pictures.
        labels: int (N,).
        draws: how often at most; shares in the mean are multiples of one over the draws made.

    Returns:
        Positions of the members, sorted, each as often as it counts.

    Raises:
        ValueError: no members or no pictures.

    Source: Caruana et al., "Ensemble selection from libraries of models", ICML 2004, with
    replacement; of the draws those up to the lowest NLL are kept.

    >>> sure, wrong, other = [[0.9, 0.1], [0.6, 0.4]], [[0.1, 0.9]] * 2, [[0.6, 0.4], [0.9, 0.1]]
    >>> greedy(np.log([sure, wrong, other]), np.array([0, 0]))
    [0, 2]
    """
    if not len(log_probabilities) or not len(labels):
        raise ValueError("choosing takes members, and pictures with labels")
    # of a mean of probabilities only those of the true classes matter
    told = np.asarray(log_probabilities)[:, np.arange(len(labels)), labels]
    likely = np.exp(told.astype(np.float64))
    chosen: list[int] = []
    best, kept, total = np.inf, 0, np.zeros(len(labels))
    for count in range(1, draws + 1):
        tried = -np.log(np.maximum((total + likely) / count, LEAST)).mean(axis=1)
        winner = int(np.argmin(tried))
        chosen.append(winner)
        total += likely[winner]
        if tried[winner] < best - 1e-12:  # rounding is no gain
            best, kept = tried[winner], count
    return sorted(chosen[:kept])


def nll(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood, nats, of log-probabilities (N, K); -inf counts as -87.3.

    >>> round(nll(np.log([[0.5, 0.5]]), np.array([1])), 3)
    0.693
    """
    told = log_probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.maximum(told, np.log(LEAST)).mean())
