"""Averaged predictions: the lecture's "average the results of n models", whatever the n are."""

import numpy as np


def combine(log_probabilities: np.ndarray) -> np.ndarray:
    """Average the probabilities of members or views, in logarithms.

    Args:
        log_probabilities: float (M, N, K): members or views, pictures, classes.

    Returns:
        float (N, K): the logarithm of the mean probability.

    Raises:
        ValueError: there is nothing to average.

    Source: slide "Model Ensembles"; Huang et al., "Snapshot ensembles", ICLR 2017.

    >>> two = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> np.exp(combine(two)).round(3).tolist()
    [[0.7, 0.3]]
    """
    if len(log_probabilities) == 0:
        raise ValueError("nothing to average: give at least one member")
    if len(log_probabilities) == 1:
        return log_probabilities[0]  # one member is that member, to the bit
    highest = log_probabilities.max(axis=0)
    # a class that every member rules out has logarithm -inf; shifting by it would give nan
    highest = np.where(np.isfinite(highest), highest, 0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(log_probabilities - highest).mean(axis=0)) + highest
