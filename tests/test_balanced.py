"""Figures in which every class counts alike are scikit-learn's, with intervals that hold."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from polyak.metrics import Evaluation, evaluate
from polyak.metrics.balanced import balanced_accuracy, indicators, macro_f1


def answers(n=400, classes=5, seed=0):
    """Labels of classes of very different sizes, and predictions that are often right."""
    random = np.random.default_rng(seed)
    share = 0.4 ** np.arange(classes)
    labels = random.choice(classes, n, p=share / share.sum())
    wrong = random.integers(classes, size=n)
    predicted = np.where(random.random(n) < 0.7, labels, wrong)
    odds = np.full((n, classes), 0.3 / (classes - 1))
    odds[np.arange(n), predicted] = 0.7
    return odds, labels, predicted


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [30, 400])
def test_they_equal_scikit_learn_s(n, seed):
    _, labels, predicted = answers(n, seed=seed)
    counts = indicators(predicted, labels, 5).sum(axis=0)
    assert balanced_accuracy(counts) == pytest.approx(
        balanced_accuracy_score(labels, predicted), abs=1e-12
    )
    assert macro_f1(counts) == pytest.approx(
        f1_score(labels, predicted, average="macro"), abs=1e-12
    )


def test_intervals_hold_the_truth_as_often_as_they_say():
    """The truth is that of 40,000 images; of 60 draws of 300 about 57 hold it."""
    _, labels, predicted = answers(40_000, classes=3, seed=9)
    truth = balanced_accuracy_score(labels, predicted), f1_score(labels, predicted, average="macro")
    held = np.zeros(2)
    for seed in range(60):
        odds, labels, _ = answers(300, classes=3, seed=100 + seed)
        found = evaluate(odds, labels)
        both = found.balanced, found.f1
        held += [one.low <= true <= one.high for one, true in zip(both, truth, strict=True)]
    assert (held >= 51).all()


def test_even_classes_need_no_more_than_accuracy():
    odds, labels, _ = answers(200, classes=2)
    even = np.concatenate([np.flatnonzero(labels == k)[:40] for k in (0, 1)])
    found = evaluate(odds[even], labels[even])
    assert found.balanced is None and "balanced" not in found.as_json()
    assert Evaluation.from_json(found.as_json()) == found


def test_uneven_figures_travel():
    odds, labels, _ = answers()
    found = evaluate(odds, labels)
    assert found.balanced is not None and found.balanced.low < found.balanced.value
    assert Evaluation.from_json(found.as_json()) == found


def test_a_thousand_classes_are_measured_in_time():
    odds, labels, _ = answers(3000, classes=4)
    wide = np.zeros((3000, 1000))
    wide[:, :4] = odds
    assert evaluate(wide, labels).f1 is not None
