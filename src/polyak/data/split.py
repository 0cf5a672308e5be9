"""Choose a validation part by seed: every class its share, what looks the same on one side."""

from dataclasses import replace

import numpy as np

from polyak import keys
from polyak.data.dataset import Dataset
from polyak.data.scan import mixed
from polyak.errors import UsageError, counted, shown


def split(data: Dataset, fraction: float = 0.1, seed: int = 0) -> Dataset:
    """Mark a share of every class as "val" when the source has no validation part of its own.

    The choice goes by the seed and the content of the images, not by names or order. Copies of
    one file, and images that look the same (`groups`), stay together; copies that contradict each
    other stay in train. A class of one image, or one group, stays in train, with a warning.

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
            known = [*map(shown, data.classes), "images of no label"]
            names = ", ".join(known[i] for i in lone[:5]) + ", ..." * (len(lone) > 5)
            few = counted(len(lone), "class")
            line = f"{few} too small to validate, used in training alone: {names}"
            data = replace(data, warnings=[*data.warnings, line])
    return replace(data, splits=splits)


def _choose(data, splits, fraction, seed):
    """Write "val" into `splits`; return the classes that could give nothing.

    A group of several classes goes by the class of its least image.
    """
    pool = np.flatnonzero(splits == "train")
    labels, digests = data.strata[pool], data.digests[pool]
    group = (data.copies() if data.groups is None else data.groups)[pool]
    group = np.unique(group, return_inverse=True)[1].reshape(-1)
    copy = np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((copy, group))  # the content draws, and of a group its least
    first = order[np.unique(group[order], return_index=True)[1]]
    count = np.bincount(group)
    torn = np.zeros(len(count), bool)
    torn[group[mixed(copy, data.answers[pool])]] = True
    draw = keys.keys("split", seed, *digests[first].T)
    chosen = np.zeros(len(count), bool)
    lone = []
    for label in np.unique(labels):
        groups = np.flatnonzero((labels[first] == label) & ~torn)
        groups = groups[np.argsort(draw[groups], kind="stable")]
        if len(groups) < 2:
            lone.append(label)
            continue
        target = max(1, round(fraction * count[groups].sum()))
        fits = groups[count[groups] <= max(target, count[groups].min())]
        take = max(1, np.searchsorted(np.cumsum(count[fits]), target, side="right"))
        chosen[fits[: min(take, len(groups) - 1)]] = True
    _keep_classes(chosen, group, labels)
    splits[pool[chosen[group]]] = "val"
    return lone


def _keep_classes(chosen, group, labels):
    """Leave every class an image to train on, where groups hold several classes."""
    for label in np.unique(labels):
        of_class = group[labels == label]
        if chosen[of_class].all():
            chosen[of_class[np.argmin(np.bincount(group)[of_class])]] = False
