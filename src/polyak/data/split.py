"""Choose a validation part by seed: every class its share, exact copies never on both sides."""

from dataclasses import replace

import numpy as np

from polyak import keys
from polyak.data.dataset import Dataset
from polyak.errors import UsageError, shown


def split(data: Dataset, fraction: float = 0.1, seed: int = 0) -> Dataset:
    """Mark a share of every class as "val" when the source has no validation part of its own.

    The choice goes by the seed and the content of the pictures, not by names or order. Copies of
    one file stay together; copies that contradict each other stay in train. A class of one picture
    stays in train, with a warning.

    Args:
        data: a scanned data set.
        fraction: of every class, 0 (no validation part) to below 1.
        seed: of the choice.

    Raises:
        UsageError: `fraction` is not in [0, 1).

    >>> from polyak.data.scan import scan
    >>> from polyak.data.sources import find
    >>> chosen = split(scan(find("digits")), fraction=0.1, seed=0)
    >>> [len(chosen.part(name)) for name in ("train", "val", "test")]
    [1295, 143, 359]
    """
    if not 0 <= fraction < 1:
        raise UsageError("cannot split", where="--val", why=f"{fraction} is not in [0, 1)")
    splits = np.where(data.splits == "", "train", data.splits).astype("U5")
    if fraction and not (splits == "val").any():
        lone = _choose(data, splits, fraction, seed)
        if lone:
            names = ", ".join(shown(data.classes[i]) for i in lone[:5]) + ", ..." * (len(lone) > 5)
            line = f"{len(lone)} classes too small to validate, used in training alone: {names}"
            data = replace(data, warnings=[*data.warnings, line])
    return replace(data, splits=splits)


def _choose(data, splits, fraction, seed):
    """Write "val" into `splits`; return the classes that could give nothing."""
    pool = np.flatnonzero(splits == "train")
    _, first, group = np.unique(data.digests[pool], axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)
    labels = data.labels[pool]
    torn = np.zeros(len(count), bool)
    torn[group[labels != labels[first][group]]] = True
    draw = keys.keys("split", seed, *data.digests[pool][first].T)
    chosen = np.zeros(len(count), bool)
    lone = []
    for label in np.unique(labels):
        groups = np.flatnonzero((labels[first] == label) & ~torn)
        groups = groups[np.argsort(draw[groups], kind="stable")]
        target = max(1, round(fraction * count[groups].sum()))
        most = np.cumsum(count[groups])
        take = np.flatnonzero(most <= target)
        take = take if len(take) else np.arange(1)
        if len(groups) < 2:
            lone.append(label)
        else:
            chosen[groups[take[: len(groups) - 1]]] = True
    splits[pool[chosen[group]]] = "val"
    return lone
