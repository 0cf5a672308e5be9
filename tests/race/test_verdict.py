"""Intervals keep their promise on races whose truth is known, and claims stay within them."""

import numpy as np
import pytest
from scipy import stats

from polyak.race.verdict import accuracy, compared, crossed


def race(draw, optimizers, seeds, images, better=0.0, luck=0.03):
    """Right or wrong, bool by optimizer: images are hard or easy for all, seeds lucky or not."""
    ease = draw.normal(1.0, 1.0, images)
    right = {}
    for k in range(optimizers):
        chance = 1 / (1 + np.exp(-(ease + 5 * draw.normal(0, luck, (seeds, 1)))))
        chance = chance + (better if k == 0 else 0)
        right[f"rule {k}"] = draw.uniform(size=(seeds, images)) < chance
    return right


def test_where_pictures_agree_it_is_students_interval_over_seeds():
    values = np.repeat([[0.2], [0.5], [0.3], [0.9]], 50, axis=1)
    found = crossed(values)
    student = stats.ttest_1samp(values[:, 0], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((student.low, student.high))


def test_where_seeds_agree_it_is_students_interval_over_pictures():
    images = np.random.default_rng(0).uniform(size=40)
    found = crossed(np.tile(images, (3, 1)), 0.99)
    student = stats.ttest_1samp(images, 0).confidence_interval(0.99)
    assert (found.low, found.high) == pytest.approx((student.low, student.high))


def test_intervals_cover_the_truth_at_least_as_often_as_they_say():
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        values = draw.normal(0, 1, (5, 1)) + draw.normal(0, 3, (1, 60)) + draw.normal(0, 1, (5, 60))
        found = crossed(values)
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 400 <= 0.995


def test_among_equals_a_difference_is_claimed_in_one_race_of_twenty_at_most():
    draw = np.random.default_rng(2)
    claims = sum(bool(compared(race(draw, 6, 5, 100)).worse) for _ in range(300))
    assert claims / 300 <= 0.05


def test_a_large_difference_is_found():
    draw = np.random.default_rng(3)
    found = [compared(race(draw, 6, 5, 400, better=0.15, luck=0.01)) for _ in range(50)]
    assert sum(v.best == "rule 0" and not v.no_difference for v in found) >= 45


def test_pairing_by_picture_finds_what_separate_intervals_do_not():
    hard = np.arange(300) < 90
    good, bad = ~hard, ~hard & (np.arange(300) < 290)
    right = {"a": np.tile(good, (4, 1)), "b": np.tile(bad, (4, 1))}
    assert accuracy(right["a"]).low < accuracy(right["b"]).high
    assert compared(right).worse == ["b"]


def test_what_cannot_be_told_apart_is_named():
    n = np.arange(400)
    right = {"a": n % 20 > 0, "b": n % 20 > 0, "c": n % 2 > 0}
    found = compared({name: np.tile(row, (3, 1)) for name, row in right.items()})
    assert (found.no_difference, found.worse) == (["b"], ["c"])
    assert found.text == "a was ahead, but no difference was found to b; c did worse."


def test_one_seed_gives_no_recommendation():
    right = {"a": np.ones((1, 50), bool), "b": np.zeros((1, 50), bool)}
    assert "One seed cannot tell" in compared(right).text


def test_no_interval_is_narrower_than_wilsons_or_leaves_the_possible():
    perfect = accuracy(np.ones((5, 359), bool))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.98941, abs=1e-5)  # statsmodels, 359 of 359, wilson
    behind = compared({"a": np.ones((2, 9), bool), "b": np.zeros((2, 9), bool)}).behind["b"]
    assert behind.high <= 1
