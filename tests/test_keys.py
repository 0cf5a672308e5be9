"""Keys are the same for ever, and share nothing with their neighbours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polyak import keys


def test_the_numbers_of_today_are_the_numbers_for_ever():
    # the third was also computed with Python's integers, outside of this library
    expected = [2914704418774721303, 3045236523626065206, 5929714303057527168]
    assert keys.keys("order", 0, 1, np.arange(3)).tolist() == expected
    assert keys.key("dropout", 0, 7, 0) == 844785488011087559
    assert keys.permutation("order", 0, 0, 8).tolist() == [6, 7, 4, 3, 0, 1, 5, 2]
    expected = [0.351518277916101, 0.31849411730348454, 0.5367327397711184]
    assert keys.uniform("flip", 0, 0, np.arange(3)).tolist() == expected


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_one_at_a_time_is_all_at_once(seed, index):
    together = keys.keys("augment", seed, np.arange(index, index + 4))
    alone = [int(keys.keys("augment", seed, i)) for i in range(index, index + 4)]
    assert together.tolist() == alone
    assert keys.key("augment", seed, index) == alone[0] >> 1 < 2**63


def test_counters_broadcast():
    table = keys.keys("order", np.arange(3)[:, None], np.arange(4))
    assert table.shape == (3, 4)
    assert table[2, 3] == keys.keys("order", 2, 3)


def test_nothing_collides_between_purposes_seeds_and_places():
    found = [
        keys.keys(purpose, np.arange(30)[:, None, None], np.arange(30)[:, None], np.arange(30))
        for purpose in ("order", "flip", "drop", "")
    ]
    assert len(np.unique(found)) == 4 * 30**3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bit_of_a_counter_moves_half_of_the_key(place):
    counters = np.array([[5, 9, 1000]]) + np.zeros((4000, 1), np.int64)
    counters[:, 2] += np.arange(4000)
    other = counters.copy()
    other[:, place] ^= 1
    moved = keys.keys("order", *counters.T) ^ keys.keys("order", *other.T)
    bits = np.unpackbits(moved.view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert 0.45 < bits.min() <= bits.max() < 0.55


def test_uniform_numbers_are_uniform_and_do_not_remember():
    drawn = keys.uniform("flip", 0, np.arange(20)[:, None], np.arange(5000))
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    across = [np.corrcoef(drawn[i], drawn[i + 1])[0, 1] for i in range(19)]
    along = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    assert np.abs(across).max() < 4 / 5000**0.5
    assert abs(along) < 4 / drawn.size**0.5


@given(st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 300))
def test_permutations_permute(seed, epoch, n):
    assert sorted(keys.permutation("order", seed, epoch, n).tolist()) == list(range(n))


def test_permutations_are_fair_and_differ_by_epoch():
    orders = [tuple(keys.permutation("order", 3, epoch, 4)) for epoch in range(4800)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_numpy_counter_is_a_python_counter():
    assert keys.key("drop", np.int64(3), np.uint8(1)) == keys.key("drop", 3, 1)
