from dataclasses import replace

import numpy as np
import pytest

from polyak.data.dataset import Dataset
from polyak.data.sources.files import Files
from polyak.data.split import split
from polyak.errors import UsageError


def _data(labels, digests=None, splits=None):
    n = len(labels)
    digests = np.arange(n) if digests is None else np.asarray(digests)
    return Dataset(
        Files(".", [f"{i}.jpg" for i in range(n)]),
        np.asarray(labels, np.int64),
        tuple("abcdefgh"[: max(labels) + 1]),
        np.full((n, 2), 8),
        np.stack([digests, digests * 7 + 1], 1).astype(np.uint64),
        np.array(splits or [""] * n, "U5"),
    )


def test_every_class_gives_its_share():
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    chosen = split(_data(labels), 0.1, seed=3)
    taken = [(chosen.splits[labels == i] == "val").sum() for i in range(3)]
    assert taken == [100, 10, 1]
    assert set(chosen.splits) == {"train", "val"}


def test_the_seed_decides_and_nothing_else():
    data = _data(np.arange(200) % 2)
    one = split(data, 0.25, seed=1).splits
    assert one.tolist() == split(data, 0.25, seed=1).splits.tolist()
    other = split(data, 0.25, seed=2).splits
    both = ((one == "val") & (other == "val")).sum()
    assert 3 <= both <= 24  # 12.5 expected of two independent choices of 50 in 200


def test_the_choice_follows_the_content_not_the_names_or_the_order():
    data = _data(np.arange(100) % 2)
    turned = data.take(np.arange(100)[::-1])
    renamed = replace(turned, source=Files(".", [f"other/{i}" for i in range(100)]))
    assert split(renamed, 0.2, 0).splits[::-1].tolist() == split(data, 0.2, 0).splits.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_copies_are_never_on_both_sides(seed):
    draw = np.random.default_rng(seed)
    digests = draw.integers(0, 40, 200)
    labels = digests % 3
    chosen = split(_data(labels, digests), 0.2, seed)
    for digest in np.unique(digests):
        assert len(set(chosen.splits[digests == digest])) == 1
    assert 20 <= (chosen.splits == "val").sum() <= 45


def test_copies_that_contradict_each_other_stay_in_train():
    digests = np.r_[np.arange(50), np.arange(50)]
    labels = np.r_[np.zeros(50, int), np.ones(50, int)]
    digests[10:50] += 100  # only the first ten are torn between two classes
    for seed in range(5):
        chosen = split(_data(labels, digests), 0.5, seed)
        torn = np.isin(digests, np.arange(10))
        assert set(chosen.splits[torn]) == {"train"}
        assert (chosen.splits == "val").sum() > 30


def test_a_class_of_one_stays_in_train_with_a_warning():
    chosen = split(_data([0] * 20 + [1]), 0.2, 0)
    assert chosen.splits[-1] == "train"
    assert chosen.warnings == ["1 class too small to validate, used in training alone: b"]


def test_a_class_of_two_gives_one():
    chosen = split(_data([0] * 20 + [1] * 2), 0.1, 0)
    assert sorted(chosen.splits[-2:]) == ["train", "val"]


def test_however_large_the_share_something_is_left_to_train_on():
    chosen = split(_data([0] * 20 + [1] * 2), 0.95, 0)
    assert sorted(chosen.splits[-2:]) == ["train", "val"]
    assert "train" in chosen.splits[:20]


def test_a_class_of_copies_of_one_image_stays_in_train():
    chosen = split(_data([0] * 20 + [1] * 5, [*range(20), *[99] * 5]), 0.2, 0)
    assert set(chosen.splits[-5:]) == {"train"}


def test_a_given_validation_part_is_kept_and_test_is_never_touched():
    given = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert split(_data([0, 1] * 6, splits=given), 0.5, 0).splits.tolist() == given
    open_part = [""] * 8 + ["test"] * 4
    chosen = split(_data([0, 1] * 6, splits=open_part), 0.5, 0)
    assert chosen.splits[8:].tolist() == ["test"] * 4
    assert (chosen.splits[:8] == "val").sum() == 4


def test_no_share_means_no_validation_part():
    assert set(split(_data([0, 1] * 5), 0, 0).splits) == {"train"}


@pytest.mark.parametrize("fraction", [-0.1, 1, 2, float("nan")])
def test_shares_outside_their_range_are_refused(fraction):
    with pytest.raises(UsageError, match="--val"):
        split(_data([0, 1]), fraction, 0)


def test_the_choice_of_seed_0_is_pinned():
    chosen = split(_data(np.arange(20) % 2), 0.2, 0)
    assert np.flatnonzero(chosen.splits == "val").tolist() == [0, 13, 14, 19]
