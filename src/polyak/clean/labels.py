"""Labels that are probably wrong, and images that are like no others, by what a model says."""

import warnings

import numpy as np

from polyak.errors import UsageError

NEIGHBOURS = 10  # images that an image is compared with
FAR = 6.0  # deviations, measured on the middle half, beyond which an image is odd


def label_errors(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List images whose label is probably wrong, the likeliest first: (positions, quality).

    Args:
        probabilities: float (N, K), of each image by a model that did not learn from it.
        labels: int (N,), as given.

    Returns:
        Positions, int64 (n,), and the probability of each one's own label, (n,).

    Raises:
        UsageError: cleanlab is not installed.

    Source: Northcutt, Jiang, Chuang, "Confident learning", JAIR 70, 2021, as cleanlab has it.

    >>> p = np.array([[0.9, 0.1]] * 8 + [[0.1, 0.9]] * 8)
    >>> labels = np.repeat([0, 1], 8)
    >>> labels[3] = 1
    >>> label_errors(p, labels)[0].tolist()
    [3]
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        then = "pip install 'polyak[clean]'"
        raise UsageError("cleanlab is not installed", then=then) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        found = find_label_issues(
            labels=np.asarray(labels), pred_probs=np.asarray(probabilities, np.float64),
            return_indices_ranked_by="self_confidence", n_jobs=1,
        )  # fmt: skip
    positions = np.asarray(found, np.int64)
    return positions, probabilities[positions, np.asarray(labels)[positions]]


def odd(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List images that lie far from all others, the oddest first: (positions, scores).

    The mean distance to an image's nearest neighbours, in angles of standardised features, is
    compared with that of the middle half of all images.

    Args:
        features: float (N, D), of a frozen network.

    Returns:
        Positions, int64 (n,), and a score from 0 (odd) to 1, (n,).

    Source: Ramaswamy et al., "Efficient algorithms for mining outliers", 2000 (distance to
    neighbours); Kuan & Mueller, "Back to the basics", 2022 (it does as well as any other).

    >>> x = np.random.default_rng(0).normal(size=(200, 5)) + 9
    >>> x[7] = -20
    >>> odd(x)[0].tolist()
    [7]
    """
    from sklearn.neighbors import NearestNeighbors

    x = np.asarray(features, np.float64)
    x = x - np.median(x, 0)
    spread = x.std(0)
    x = x / np.where(spread > 0, spread, 1)
    count = min(NEIGHBOURS, len(x) - 1)
    if count < 1:
        return np.zeros(0, np.int64), np.zeros(0)
    near, _ = NearestNeighbors(n_neighbors=count).fit(x).kneighbors()
    distance = near.mean(1)
    low, middle, high = np.quantile(distance, [0.25, 0.5, 0.75])
    apart = (distance - middle) / max((high - low) / 1.349, 1e-12)  # in standard deviations
    far = np.flatnonzero(apart > FAR)
    far = far[np.argsort(-apart[far], kind="stable")]
    return far, FAR / apart[far] / 2
