"""The pool: what weights predict alone and together, and what it remembers."""

import numpy as np
import pytest
import torch

from digit_networks import member
from polyak import metrics
from polyak.ensemble import copied
from polyak.inference import log_probabilities
from polyak.selection import CandidatePool


def test_weights_predict_as_their_network_does(pool, parts):
    for seed, name in enumerate("abc"):
        own = member(seed)
        want, _ = log_probabilities(own.network, parts["val"].images, own.preprocessing)
        assert np.array_equal(pool.log_probs([name], "val", "one"), want)
    assert not np.array_equal(*(pool.log_probs([name], "val", "one") for name in "ab"))


def test_a_mean_is_of_calibrated_probabilities_as_often_as_named(pool):
    odds = [
        metrics.softmax(pool.log_probs([name], "test", "one"), pool.temperature([name], "one"))
        for name in "ab"
    ]
    found = np.exp(pool.log_probs(["a", "b", "b"], "test", "one"))
    assert np.allclose(found, odds[0] / 3 + odds[1] * 2 / 3, atol=1e-6)
    assert pool.temperature(["a"], "one") != 1  # or nothing would be shown


def test_finished_models_are_calibrated_already(parts, batches):
    finished = CandidatePool(parts, batches, finished=True)
    for seed, (name, temperature) in enumerate({"a": 0.5, "b": 3.0}.items()):
        one = member(seed, temperature=temperature)
        finished.add(name, copied(one.network), one)
    plain = [
        log_probabilities(m.network, parts["test"].images, m.preprocessing)[0]
        for m in (member(0), member(1))
    ]
    want = (metrics.softmax(plain[0], 0.5) + metrics.softmax(plain[1], 3.0)) / 2
    found = finished.log_probs(["a", "b"], "test", "one")
    assert np.allclose(np.exp(found), want, atol=1e-6)
    assert [finished.member(name, 2.0).temperature for name in "ab"] == [0.5, 3.0]
    # a mean of their weights is another network: their temperatures are not its own
    finished.average("soup", ["a", "b"])
    assert finished.alone("soup").temperature == 1.0


def test_what_was_predicted_is_remembered(pool, monkeypatch):
    first = pool.log_probs(["a"], "val", "one")
    monkeypatch.delattr("polyak.selection.pool.Classifier")
    assert pool.log_probs(["a"], "val", "one") is first
    with pytest.raises(NameError):
        pool.log_probs(["b"], "val", "one")


def test_averaged_weights_have_statistics_of_their_own(pool):
    pool.average("mean", ["a", "b"])
    mean, a, b = (pool.states[name] for name in ("mean", "a", "b"))
    assert torch.allclose(mean["head.weight"], (a["head.weight"] + b["head.weight"]) / 2)
    name = next(name for name in mean if name.endswith("running_mean"))
    assert not torch.allclose(mean[name], (a[name] + b[name]) / 2)
    assert pool.members == ["a", "b", "c"]  # a mean is nobody's training


def test_a_trial_leaves_nothing_behind(pool):
    before = dict(pool.states)
    first = pool.trial(["a", "b"], before["a"])
    assert pool.trial(["a", "b"], before["b"]) != first
    assert pool.trial(["a", "b"], before["a"]) == first
    assert pool.states == before


def test_the_score_is_at_the_own_temperature(pool, parts):
    logits = pool.log_probs(["c"], "val", "one")
    labels = parts["val"].dataset.labels
    accuracy, nll = pool.score(["c"])
    assert accuracy == (logits.argmax(1) == labels).mean()
    tried = [metrics.nll(metrics.log_softmax(logits, t), labels) for t in np.geomspace(0.2, 20, 99)]
    assert nll == pytest.approx(min(tried), abs=0.01)  # but for the prior on the temperature
    assert pool.losses(["c"]).mean() == pytest.approx(nll)
