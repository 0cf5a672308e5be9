"""What models said of the images of the fold that each of them did not see: measured, by fold."""

from typing import Any

import numpy as np

from polyak.metrics import negative_log, over_folds
from polyak.selection.predictions import SplitPredictions

OUT_OF_FOLD = "oof"  # what tables and files call it


def fold_figures(predictions: SplitPredictions) -> dict[str, Any]:
    """Measure the predictions of each fold, and how much the folds differ.

    Args:
        predictions: with the fold of each image.

    Returns:
        `each`, a row a fold ("fold", "n", "accuracy", "nll"); "accuracy" and "nll", their means
        with Student's 95 % intervals; "evaluation", of all images together.

    >>> from polyak.data.dataset import Dataset
    >>> from polyak.data.sources.files import Files
    >>> four = Dataset(Files(".", list("abcd")), np.array([0, 1] * 2), ("cat", "dog"),
    ...                np.ones((4, 2), int), np.zeros((4, 2), np.uint64), np.array(["train"] * 4))
    >>> odds = np.array([[0.9, 0.1], [0.6, 0.4]] * 2)
    >>> found = SplitPredictions("oof", four, odds, four.labels, np.arange(4), np.arange(4) // 2)
    >>> [row["accuracy"] for row in fold_figures(found)["each"]]
    [0.5, 0.5]
    """
    assert predictions.folds is not None
    kind, each = predictions.dataset.kind, []
    for fold in np.unique(predictions.folds):
        own = predictions.folds == fold
        log_probs = -negative_log(predictions.probabilities[own])
        accuracy, nll = kind.score(log_probs, predictions.labels[own])
        row = {"fold": int(fold), "n": int(own.sum()), "accuracy": accuracy, "nll": nll}
        each.append(row)
    means = {
        name: over_folds([row[name] for row in each], highest)
        for name, highest in (("accuracy", 1.0), ("nll", np.inf))
    }
    together = predictions.figures.evaluation.as_json()
    return {"each": each, **{k: vars(v) for k, v in means.items()}, "evaluation": together}
