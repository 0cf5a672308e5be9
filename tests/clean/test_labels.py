"""Wrong labels and odd images are found among many that are right."""

import sys

import numpy as np
import pytest

from polyak.clean.labels import label_errors, odd
from polyak.errors import UsageError


def noisy(n=600, classes=3, share=0.1, seed=0):
    """Answers of a model that is right nine times of ten, and labels of which a share is wrong."""
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=n)
    answers = np.where(random.random(n) < 0.95, truth, random.integers(classes, size=n))
    odds = np.full((n, classes), 0.1 / (classes - 1))
    odds[np.arange(n), answers] = 0.9
    flipped = random.random(n) < share
    return odds, np.where(flipped, (truth + 1) % classes, truth), flipped


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_most_flips_are_found_and_little_else(share, seed):
    odds, labels, flipped = noisy(share=share, seed=seed)
    at, quality = label_errors(odds, labels)
    right = flipped[at]
    assert right.mean() > 0.5 and right.sum() > 0.7 * flipped.sum()
    assert (np.diff(quality) >= 0).all() and quality[0] == pytest.approx(0.05)


def test_good_labels_are_left_alone():
    odds, *_ = noisy(share=0.0)
    sure = np.where(odds == odds.max(1, keepdims=True), 0.98, 0.01)
    assert len(label_errors(sure, sure.argmax(1))[0]) == 0


def test_cleanlab_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(UsageError, match=r"cleanlab is not installed.*polyak\[clean\]"):
        label_errors(np.eye(2), np.arange(2))


@pytest.mark.parametrize("seed", range(3))
def test_images_like_no_others_are_odd(seed):
    random = np.random.default_rng(seed)
    x = np.concatenate([random.normal(m, 1, (150, 20)) for m in (0, 8)])  # two classes
    x[[3, 200]] = random.normal(-30, 1, (2, 20)) * [[1], [-1]]
    at, scores = odd(x)
    assert set(at) == {3, 200} and (scores < 0.5).all()


def test_few_images_are_not_odd():
    assert len(odd(np.zeros((1, 3)))[0]) == 0
    assert len(odd(np.random.default_rng(0).normal(size=(8, 3)))[0]) == 0
