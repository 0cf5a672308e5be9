"""Which members to keep: greedily, by what they predict of images that were held out."""

import numpy as np

from polyak.metrics import as_binary, negative_log


def greedy(log_probs: np.ndarray, labels: np.ndarray, draws: int = 20) -> list[int]:
    """Choose members and how much each counts: again and again, draw whoever lowers the NLL of the
    mean most.

    Args:
        log_probs: float (M, N, K) of held-out images.
        labels: int (N,); of several labels an image, int (N, K).
        draws: how often at most; shares in the mean are multiples of one over the draws made.

    Returns:
        Positions of the members, sorted, each as often as it counts.

    Raises:
        ValueError: no members or no images.

    Source: Caruana et al., "Ensemble selection from libraries of models", ICML 2004, with
    replacement; of the draws those up to the lowest NLL are kept.

    >>> sure, wrong, other = [[0.9, 0.1], [0.6, 0.4]], [[0.1, 0.9]] * 2, [[0.6, 0.4], [0.9, 0.1]]
    >>> greedy(np.log([sure, wrong, other]), np.array([0, 0]))
    [0, 2]
    """
    if not len(log_probs) or not len(labels):
        raise ValueError("choosing takes members, and images with labels")
    log_probs = np.asarray(log_probs)
    if labels.ndim > 1:
        log_probs, labels = as_binary(log_probs, labels)
    # of a mean of probabilities only those of the true classes matter
    true = log_probs[:, np.arange(len(labels)), labels]
    likely = np.exp(true.astype(np.float64))
    chosen: list[int] = []
    best, kept, total = np.inf, 0, np.zeros(len(labels))
    for count in range(1, draws + 1):
        tried = negative_log((total + likely) / count).mean(axis=1)
        winner = int(np.argmin(tried))
        chosen.append(winner)
        total += likely[winner]
        if tried[winner] < best - 1e-12:  # rounding is no gain
            best, kept = tried[winner], count
    return sorted(chosen[:kept])
