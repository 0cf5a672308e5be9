"""Folds: every image is held out once, groups stay whole, and every class is always learnt from."""

import numpy as np
import pytest

from polyak.data.dataset import Dataset
from polyak.data.folds import dealt, fold_numbers, folds
from polyak.data.sources.files import Files
from polyak.errors import UsageError


def images(labels, splits="", groups=None) -> Dataset:
    n = len(labels)
    digests = np.random.default_rng(0).integers(0, 2**60, (n, 2), np.uint64)
    return Dataset(
        Files(".", [f"{i}" for i in range(n)]), np.array(labels), ("ant", "bee", "cat"),
        np.ones((n, 2), int), digests, np.broadcast_to(splits, n).astype("U5"),
        None if groups is None else np.array(groups),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_image_is_held_out_once(count, seed):
    data = images([0] * 20 + [1] * 9 + [2] * 8)
    held = [dealt(data, count, fold, seed).splits == "val" for fold in range(count)]
    assert (np.sum(held, 0) == 1).all()
    sizes = [part.sum() for part in held]
    assert max(sizes) - min(sizes) <= 1
    for part in held:
        each = np.bincount(data.labels[part], minlength=3)
        assert (np.abs(each - np.array([20, 9, 8]) / count) < 1).all()


def test_without_a_fold_all_images_train_but_those_of_test():
    data = images([0, 1] * 10, splits=["train"] * 10 + ["val"] * 6 + ["test"] * 4)
    found = dealt(data, 4, None, 0)
    assert found.splits.tolist() == ["train"] * 16 + ["test"] * 4
    assert found.warnings == ["6 validation images take part in the folds"]
    assert (fold_numbers(data, 4, 0) < 0).tolist() == [False] * 16 + [True] * 4


def test_copies_and_groups_lie_in_one_fold():
    groups = np.repeat(np.arange(12), 3)
    found = fold_numbers(images([0] * 18 + [1] * 18, groups=groups), 3, 1)
    assert all(len(set(found[groups == group])) == 1 for group in range(12))


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_always_learnt_from(seed):
    """One group holds all of the bees, and goes with the ants: its fold would be without bees."""
    labels, groups = [0] * 8 + [1] * 2, [*range(7), 7, 7, 7]
    found = folds(np.array(labels), seed, 4, np.array(groups))
    assert found[8:].tolist() == [-1, -1]
    for fold in range(4):
        assert set(np.array(labels)[found != fold]) == {0, 1}


def test_small_classes_are_told_of():
    lines = dealt(images([0] * 9 + [1] * 2 + [2]), 3, 0, 0).warnings
    assert lines == [
        "never held out, as all of a class lie together: cat",
        "in fewer than 3 folds, for want of images: bee",
    ]


@pytest.mark.parametrize(("labels", "line"), [
    ([0] * 3 + [1] * 2, r"--folds 9: these images fill 5. Next: --folds 5"),
    ([0, 1, 2], r"no class has images of two groups. Next: leave --folds away"),
])  # fmt: skip
def test_more_folds_than_images_are_refused(labels, line):
    with pytest.raises(UsageError, match=line):
        dealt(images(labels), 9, 0, 0)
