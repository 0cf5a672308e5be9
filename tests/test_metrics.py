"""Figures by hand, by scikit-learn and SciPy, and by the laws that intervals must keep."""

import json
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest, norm
from sklearn import metrics as sklearn

from polyak import metrics


def scores(n, classes, wrong=0.2, seed=0, scale=2.0):
    """Logits float32 (n, classes) and int64 labels (n,): the best class but for a share `wrong`."""
    random = np.random.default_rng(seed)
    logits = (random.normal(size=(n, classes)) * scale).astype(np.float32)
    labels = logits.argmax(axis=1)
    missed = random.random(n) < wrong
    labels[missed] = random.integers(classes, size=missed.sum())
    return logits, labels


@pytest.mark.parametrize(
    ("right", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 30), (9_850, 10_000)]
)
def test_wilson_is_scipys(right, n):
    expected = binomtest(right, n).proportion_ci(method="wilson")
    found = metrics.wilson(right, n)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize(("right", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(right, n):
    with pytest.raises(ValueError, match="proportion"):
        metrics.wilson(right, n)


def test_wilson_covers_the_truth():
    random = np.random.default_rng(1)
    counts = random.binomial(40, 0.93, size=4000)
    found = [metrics.wilson(int(count), 40) for count in counts]
    covered = np.mean([one.low <= 0.93 <= one.high for one in found])
    assert 0.93 <= covered <= 0.98


def test_figures_by_hand():
    # sure 0.9 and right, 0.8 and right, 0.6 and wrong: gaps 0.1, 0.2, 0.6 in three bins
    found = metrics.evaluate(
        np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), resamples=50
    )
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.nll.value == pytest.approx((0.105361 + 0.223144 + 0.916291) / 3, abs=1e-6)
    assert found.ece.value == pytest.approx(0.3)
    assert found.n == 3


def test_gaps_cancel_within_a_bin_and_not_across():
    probabilities = np.array([[0.75, 0.25]] * 4)  # one bin: 75 % sure, right three times of four
    assert metrics.evaluate(probabilities, np.array([0, 0, 0, 1])).ece.value == pytest.approx(0)
    probabilities = np.array([[0.7, 0.3], [0.9, 0.1]])  # two bins: -0.7 and +0.1
    assert metrics.evaluate(probabilities, np.array([1, 0])).ece.value == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("sure", "expected"),
    [
        ((0.71, 0.74), (0.29 + 0.74) / 2),  # either side of 11/15: two bins
        ((0.6, 0.59), (0.59 - 0.4) / 2),  # 9/15 belongs to the bin below
        ((1.0, 0.99), (0.99 - 0.0) / 2),  # the last bin
    ],
)
def test_bins_are_fifteen_and_hold_their_upper_end(sure, expected):
    """The first image is right, the second wrong."""
    probabilities = np.stack([sure, 1 - np.array(sure)], axis=1)
    found = metrics.evaluate(probabilities, np.array([0, 1]), resamples=10)
    assert found.ece.value == pytest.approx(expected)


def test_nll_and_accuracy_are_scikit_learns():
    logits, labels = scores(500, 7)
    probabilities = metrics.softmax(logits.astype(np.float64))
    found = metrics.evaluate(probabilities, labels, resamples=10)
    expected = sklearn.log_loss(labels, probabilities, labels=list(range(7)))
    assert found.nll.value == pytest.approx(expected, rel=1e-12)
    expected = sklearn.accuracy_score(labels, probabilities.argmax(axis=1))
    assert found.accuracy.value == pytest.approx(expected)


def test_a_probability_of_zero_stays_finite():
    found = metrics.evaluate(np.array([[1.0, 0.0]]), np.array([1]))
    assert found.nll.value == pytest.approx(87.3365, abs=1e-3)  # the least that float32 can hold
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["n"] == 1


def test_every_nll_has_the_same_floor():
    """Float32's least normal number: what the network itself rounds to 0 counts as this."""
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[1.0, 0.0], [0.5, 0.5], [1 - 1e-30, 1e-30]]))
    labels = np.array([1, 0, 1])
    expected = [87.3365448, 0.6931472, 69.0775528]
    assert metrics.losses(log_probs, labels) == pytest.approx(expected, abs=1e-6)
    assert metrics.nll(log_probs, labels) == pytest.approx(sum(expected) / 3, abs=1e-6)
    assert metrics.negative_log(np.exp(log_probs[range(3), labels])) == pytest.approx(expected)
    found = metrics.evaluate(np.exp(log_probs), labels, resamples=10)
    assert found.nll.value == pytest.approx(sum(expected) / 3, abs=1e-6)
    assert metrics.accuracy_and_nll(log_probs, labels) == (1 / 3, metrics.nll(log_probs, labels))


def test_the_nll_of_float32_is_summed_in_double_precision():
    log_probs = np.full((3_000_000, 1), np.log(0.1), np.float32)
    found = metrics.nll(log_probs, np.zeros(len(log_probs), int))
    assert found == pytest.approx(-float(np.float32(np.log(0.1))), rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 7.0])
def test_tensors_are_softened_as_arrays_are(temperature):
    logits, _ = scores(50, 4, scale=30)
    for function in (metrics.softmax, metrics.log_softmax):
        found = function(torch.from_numpy(logits.astype(np.float64)), temperature)
        assert isinstance(found, torch.Tensor)
        assert found.numpy() == pytest.approx(function(logits.astype(np.float64), temperature))
    expected = log_softmax(logits / temperature, axis=1)
    assert metrics.log_softmax(logits, temperature) == pytest.approx(expected, abs=1e-5)
    assert metrics.log_softmax(logits, temperature).dtype == np.float32


def test_json_has_the_promised_shape():
    logits, labels = scores(50, 3)
    found = metrics.evaluate(metrics.softmax(logits), labels, resamples=20).as_json()
    assert set(found) - {"balanced", "f1"} == {"accuracy", "nll", "ece", "n"}
    assert all(set(found[name]) == {"value", "low", "high"} for name in ("accuracy", "nll", "ece"))
    for name in ("accuracy", "nll", "ece"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]


def test_intervals_are_functions_of_the_seed():
    logits, labels = scores(200, 3)
    probabilities = metrics.softmax(logits)
    first = metrics.evaluate(probabilities, labels, seed=1)
    assert metrics.evaluate(probabilities, labels, seed=1) == first
    assert metrics.evaluate(probabilities, labels, seed=2).nll != first.nll


def test_nll_interval_has_the_normal_width():
    logits, labels = scores(4000, 5)
    found = metrics.evaluate(metrics.softmax(logits), labels).nll
    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(4000), labels]
    expected = 2 * 1.96 * losses.std() / 4000**0.5
    assert found.high - found.low == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("power", "truth"), [(1.0, 0.0), (1.6, None)])
def test_calibration_interval_covers_the_truth(power, truth):
    """A classifier that is `c` sure is right with probability c ** power; power 1 is calibrated."""
    random = np.random.default_rng(3)
    if truth is None:
        many = random.uniform(0.5, 1, 1_000_000)
        bins = np.ceil(many * 15).astype(int)
        truth = np.abs(np.bincount(bins, many**power - many)).sum() / len(many)
    covered = 0
    for trial in range(100):
        sure = random.uniform(0.5, 1, 400)
        labels = (random.random(400) >= sure**power).astype(np.int64)
        found = metrics.evaluate(
            np.stack([sure, 1 - sure], axis=1), labels, resamples=200, seed=trial
        ).ece
        covered += found.low <= truth <= found.high
    assert covered >= 90


def test_a_clear_calibration_error_is_not_excused():
    probabilities = np.tile([0.95, 0.05], (500, 1))
    labels = (np.arange(500) % 2).astype(np.int64)  # right half of the time
    found = metrics.evaluate(probabilities, labels).ece
    assert found.value == pytest.approx(0.45)
    assert 0.38 < found.low < 0.45 < found.high < 0.52


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((2, 2)) / 2, np.array([0]), r"\(N, K\)"),
        (np.ones((0, 2)), np.zeros(0, int), "no images"),
        (np.ones((2, 2)) / 2, np.array([0, 2]), "integers from 0 to 1"),
        (np.ones((2, 2)) / 2, np.array([0, -1]), "integers from 0 to 1"),
        (np.ones((2, 2)) / 2, np.array([0.0, 1.0]), "integers from 0 to 1"),
        (np.array([[np.nan, 1.0]]), np.array([0]), "not finite"),
        (np.array([[3.0, -1.0]]), np.array([0]), "softmax"),
    ],
)
def test_what_cannot_be_measured_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(probabilities, labels)


@given(st.integers(1, 50), st.integers(2, 6), st.floats(-5000, 5000))
def test_softmax_sums_to_one_and_ignores_a_shift(n, classes, shift):
    logits, _ = scores(n, classes, seed=n, scale=50)
    found = metrics.softmax(logits.astype(np.float64) + shift)
    assert found.sum(axis=1) == pytest.approx(1)
    assert found == pytest.approx(metrics.softmax(logits.astype(np.float64)), abs=1e-9)


def test_softmax_of_any_number_of_rows_is_scipys():
    logits, _ = scores(9000, 3)
    expected = np.exp(log_softmax(logits / 1.7, axis=1))
    assert metrics.softmax(logits, 1.7) == pytest.approx(expected, abs=1e-6)
    assert metrics.softmax(logits).dtype == np.float32


@pytest.mark.parametrize("spread", [np.inf, 0.5, 0.05])
@pytest.mark.parametrize(("scale", "wrong"), [(0.3, 0.2), (2.0, 0.2), (9.0, 0.3), (30.0, 0.1)])
def test_temperature_is_scipys_minimum(scale, wrong, spread):
    logits, labels = scores(3000, 6, wrong=wrong, scale=scale)

    def nll(log_temperature):
        chosen = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        likely = chosen[np.arange(len(labels)), labels].sum()
        return (norm.logpdf(log_temperature, 0, spread) if spread < np.inf else 0.0) * -1 - likely

    best = minimize_scalar(
        nll, bounds=np.log([0.05, 20]), method="bounded", options={"xatol": 1e-9}
    )
    fitted = metrics.fit_temperature(logits, labels, spread)
    assert np.log(fitted) == pytest.approx(best.x, abs=1e-4)


def test_temperature_undoes_a_scale():
    logits, labels = scores(2000, 4)
    fitted = metrics.fit_temperature(logits, labels, np.inf)
    tripled = metrics.fit_temperature(logits * 3, labels, np.inf)
    assert tripled == pytest.approx(3 * fitted, rel=1e-4)


def test_smoothed_labels_and_no_mistake():
    # a network trained with 20 % smoothing says 0.82 where it is always right
    logits, labels = np.tile([np.log(0.82 * 9 / 0.18), *[0.0] * 9], (143, 1)), np.zeros(143, int)
    found = metrics.fit_temperature(logits, labels)
    assert 0.3 < found < 0.6
    assert -np.log(metrics.softmax(logits, found)[:, 0]).mean() < 0.03  # 0.2 as it was


def test_one_mistake_in_a_hundred_is_not_bet_on():
    logits, labels = np.tile([6.0, 0.0, 0.0], (143, 1)), np.zeros(143, int)
    labels[0] = 1
    free = metrics.fit_temperature(logits, labels, np.inf)
    assert free == pytest.approx(6 / np.log(2 * 142))  # announces 1 in 143, as it came
    assert 1 < metrics.fit_temperature(logits, labels) < free
    labels[1:4] = 1
    sure = metrics.fit_temperature(logits / 8, labels, np.inf)
    assert sure == pytest.approx(6 / 8 / np.log(2 * 139 / 4))
    assert sure < metrics.fit_temperature(logits / 8, labels) < 0.5


def test_temperature_keeps_its_bounds_and_its_head():
    logits, labels = scores(200, 4, wrong=0.0)
    assert metrics.fit_temperature(logits, labels, np.inf) == 1.0  # no mistake to learn from
    assert metrics.fit_temperature(-logits, labels, np.inf) == pytest.approx(
        20
    )  # worse than chance
    assert metrics.fit_temperature(np.zeros((3, 2)), np.array([0, 1, 1])) > 0  # nothing to tell
    barely, labels = scores(5000, 2, wrong=0.001, scale=0.001)
    assert metrics.fit_temperature(barely, labels, np.inf) == pytest.approx(0.05)


def test_confusion_is_scikit_learns():
    random = np.random.default_rng(5)
    predicted, labels = random.integers(0, 5, (2, 400))
    labels[labels == 3] = 2  # a class that is never there
    predicted[predicted == 1] = 0  # a class that is never predicted
    found = metrics.confusion_matrix(predicted, labels, 5)
    assert (found == sklearn.confusion_matrix(labels, predicted, labels=range(5))).all()
    precision, recall, _, support = sklearn.precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=np.nan
    )
    by_class = metrics.per_class(found)
    np.testing.assert_allclose(by_class.precision, precision)
    np.testing.assert_allclose(by_class.recall, recall)
    assert (by_class.support == support).all()


def test_most_confused_by_hand():
    confusion = np.array([[5, 3, 0], [1, 4, 3], [0, 0, 9]])
    found = metrics.most_confused(confusion, ["ant", "bee", "cat"], top=3)
    assert found == [("ant", "bee", 3, 3 / 8), ("bee", "cat", 3, 3 / 8), ("bee", "ant", 1, 1 / 8)]
    assert metrics.most_confused(np.diag([4, 4]), ["ant", "bee"]) == []
    assert confusion[0, 0] == 5  # the caller's array stands


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        # 60, 8, 8, one answer for all: 78.9 %, Wilson's interval from 68.5 %
        ([[60, 0, 0], [8, 0, 0], [8, 0, 0]], ["always answering a would be right on 78.9 %",
                                              "never right: b (0 of 8 images), c (0 of 8 images)"]),
        # above the majority, and sure of it, with a class that is never right all the same
        ([[60, 0, 0], [0, 30, 0], [8, 0, 0]], ["never right: c (0 of 8 images)"]),
        ([[60, 0, 0], [0, 30, 0], [2, 0, 0]], []),  # two images say little
        ([[9, 1], [2, 8]], []),
        ([[6, 0], [1, 0]], ["always answering a", "never right: b (0 of 1 image)"]),
        ([[6, 4], [4, 6]], ["always answering a would be right on 50.0 %"]),  # 60 % of 20 is chance
    ],
)  # fmt: skip
def test_what_accuracy_does_not_say_is_told(matrix, said):
    found = metrics.cautions(np.array(matrix), ["a", "b", "c"])
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


def test_fifty_thousand_images_are_quick_and_small():
    logits, labels = scores(50_000, 100)
    probabilities = metrics.softmax(logits)
    tracemalloc.start()
    start = time.perf_counter()
    metrics.evaluate(probabilities, labels)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 20  # 1.5 s on one quiet core
    assert peak < 200 << 20


def test_many_classes_take_memory_for_a_few_images_at_a_time(monkeypatch):
    from polyak.metrics import arrays

    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(5000, 1200)).astype(np.float32), draw.integers(0, 1200, 5000)
    tracemalloc.start()
    calm = metrics.softmax(logits, 1.5)
    temperature = metrics.fit_temperature(logits, labels)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < calm.nbytes + 8 * 8 * arrays.CELLS
    monkeypatch.setattr(arrays, "CELLS", 4096 * 1200)  # as it was: the same to the last bit
    assert (metrics.softmax(logits, 1.5) == calm).all()
    assert metrics.fit_temperature(logits, labels) == temperature


def test_what_is_confused_is_found_among_many_classes_without_sorting_their_square():
    k = 2000
    matrix = np.zeros((k, k), np.int64)
    matrix[np.arange(k), np.arange(k)] = 2
    matrix[[5, 7, 3], [6, 1, 9]] = [1, 3, 1]
    tracemalloc.start()
    found = metrics.most_confused(matrix, [str(i) for i in range(k)], top=4)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(one.truth, one.taken_for, one.images) for one in found] == [
        ("7", "1", 3), ("3", "9", 1), ("5", "6", 1),
    ]  # fmt: skip
    assert most < matrix.nbytes / 4
