"""Deal images to folds: each is held out once, by a model that learns from all the others."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from polyak import keys
from polyak.data.dataset import Dataset
from polyak.errors import UsageError, counted, shown

FOLDS = 5
_LISTED = 5  # names in a line


def folds(
    labels: np.ndarray, seed: int, count: int = FOLDS, groups: np.ndarray | None = None
) -> np.ndarray:
    """Deal images to folds, every class evenly; what is alone in its class is never held out: -1.

    Args:
        labels: int (n,).
        seed: of the deal.
        count: of folds.
        groups: int (n,), one number for images of a class that one fold must hold; None: none.

    >>> folds(np.array([0, 1, 2]), seed=0).tolist()
    [-1, -1, -1]
    >>> part = folds(np.zeros(6, int), seed=0, groups=np.array([0, 0, 1, 1, 2, 3]))
    >>> len(set(part[:2])), len(set(part[2:4])), len(set(part))
    (1, 1, 4)
    """
    labels = np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else groups
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    draw = keys.keys("folds", seed, first)
    fold = np.full(len(first), -1)
    dealt = 0  # classes take turns in who comes first, so that folds are of one size
    for label in np.unique(labels):
        members = np.flatnonzero(labels[first] == label)
        if len(members) > 1:
            fold[members[np.argsort(draw[members])]] = (dealt + np.arange(len(members))) % count
            dealt += len(members)
    return _without_losses(labels, fold[group.reshape(-1)])


def _without_losses(labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Leave every class images to learn from: of one that a single fold holds, as its groups are of
    several classes, that fold's images are never held out.
    """
    kept = fold.copy()
    for label in np.unique(labels):
        own = np.unique(fold[labels == label])
        if len(own) == 1 and own[0] >= 0:
            kept[(labels == label) & (fold == own[0])] = -1
    return kept


def fold_numbers(data: Dataset, count: int, seed: int) -> np.ndarray:
    """Number the fold of each image to train on: int64 (n,), -1 for what is never held out, and for
    images to test on.

    Args:
        data: split, or not yet; its validation images take part.
        count: of folds.
        seed: of the deal.

    Raises:
        UsageError: there are not so many images, or groups, of a class.

    >>> from polyak.data import find, scan
    >>> found = fold_numbers(scan(find("digits")), 5, seed=0)
    >>> np.bincount(found + 1).tolist()
    [359, 288, 288, 288, 287, 287]
    """
    pool = np.flatnonzero(data.splits != "test")
    groups = data.copies() if data.groups is None else data.groups
    found = np.full(len(data), -1)
    found[pool] = folds(data.strata[pool], seed, count, groups[pool])
    filled = len(np.unique(found[found >= 0]))
    if filled < count:
        most = f"these images fill {filled}" if filled > 1 else "no class has images of two groups"
        then = f"--folds {filled}" if filled > 1 else "leave --folds away"
        raise UsageError("too few images", where=f"--folds {count}", why=most, then=then)
    return found


def dealt(data: Dataset, count: int, held: int | None, seed: int) -> Dataset:
    """Hold one fold out as "val"; all other images but those of "test" are to train on.

    Args:
        data: a scanned data set, with `groups` where images belong together.
        count: of folds.
        held: the fold that is held out; None: none is.
        seed: of the deal.

    Raises:
        UsageError: there are not so many images, or groups, of a class.

    >>> from polyak.data import find, scan
    >>> one = dealt(scan(find("digits")), 5, 0, seed=0)
    >>> [len(one.part(name)) for name in ("train", "val", "test")]
    [1150, 288, 359]
    """
    numbers = fold_numbers(data, count, seed)
    splits = np.where(data.splits == "test", "test", "train").astype("U5")
    if held is not None:
        splits[numbers == held] = "val"
    lines = [*data.warnings, *_lines(data, numbers, count)]
    return replace(data, splits=splits, warnings=lines)


def _lines(data: Dataset, numbers: np.ndarray, count: int) -> Iterator[str]:
    """Say what the folds make of given splits and of small classes."""
    if given := int((data.splits == "val").sum()):
        yield f"{counted(given, 'validation image')} take part in the folds"
    pool = data.splits != "test"
    labels = data.strata[pool]
    never, few = [], []
    for label in np.unique(labels):
        own = numbers[pool][labels == label]
        held = len(np.unique(own[own >= 0]))
        (never if held == 0 else few if held < count else []).append(label)
    if never:
        yield f"never held out, as all of a class lie together: {_names(data, never)}"
    if few:
        yield f"in fewer than {count} folds, for want of images: {_names(data, few)}"


def _names(data: Dataset, labels: list[int]) -> str:
    known = [*map(shown, data.classes), "images of no label"]
    names = ", ".join(known[label] for label in labels[:_LISTED])
    return names + ", ..." * (len(labels) > _LISTED)
