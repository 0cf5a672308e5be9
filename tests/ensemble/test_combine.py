"""Averaged predictions, by hand on small numbers, for arrays and tensors."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from polyak.ensemble import CalibratedMean, Ensemble, combine, disagreement, tempered
from polyak.metrics import arrays, fit_temperature, nll

P = np.array([[[0.7, 0.2, 0.1]], [[0.1, 0.6, 0.3]]])


def test_means_by_hand():
    assert np.allclose(np.exp(combine(np.log(P))), [[0.4, 0.4, 0.2]])
    assert np.allclose(np.exp(combine(np.log(P), [3, 1])), [[0.55, 0.3, 0.15]])
    roots = np.sqrt([0.07, 0.12, 0.03])
    assert np.allclose(np.exp(combine(np.log(P), of="logits")), roots / roots.sum())


def test_one_member_is_itself_to_the_bit():
    logs = np.log(P[:1]).astype(np.float32)
    assert np.array_equal(combine(logs), logs[0])
    assert np.array_equal(combine(np.log(P), [0, 2]), np.log(P)[1])
    assert tempered(logs, 1.0) is logs


def test_a_class_that_all_rule_out_stays_ruled_out():
    with np.errstate(divide="ignore"):
        logs = np.log(np.array([[[1.0, 0.0]], [[1.0, 0.0]]]))
    assert np.exp(combine(logs)).tolist() == [[1.0, 0.0]]
    assert combine(torch.tensor(logs)).exp().tolist() == [[1.0, 0.0]]


def test_what_cannot_be_averaged_is_told():
    for weights in ([1], [0, 0], [-1, 2], [np.nan, 1]):
        with pytest.raises(ValueError):
            combine(np.log(P), weights)
    with pytest.raises(ValueError):
        combine(np.log(P)[:0])
    with pytest.raises(ValueError):
        combine(np.log(P), of="medians")


def test_disagreement_by_hand():
    # each lies |0.3| + |0.2| + |0.1| = 0.6 / 2 from the mean
    assert np.allclose(disagreement(np.log(P)), [0.3])
    assert np.allclose(disagreement(np.log(P[[0, 0]])), [0.0])


def test_a_mean_is_no_worse_than_its_members_on_average():
    """Jensen: the NLL of the mean is at most the mean of the NLLs."""
    logits = np.random.default_rng(0).normal(size=(5, 200, 4))
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels = np.random.default_rng(1).integers(0, 4, 200)
    assert nll(combine(logs), labels) <= np.mean([nll(one, labels) for one in logs])


@pytest.mark.parametrize("of", ["probabilities", "logits"])
@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], [0, 2, 0, 1]])
def test_tensors_are_averaged_as_arrays_are(of, weights):
    log_probs = torch.randn(4, 5, 3, dtype=torch.float64).mul(20).log_softmax(2)
    want = combine(log_probs.numpy(), weights, of)
    found = combine(log_probs, weights, of)
    assert isinstance(found, torch.Tensor) and np.allclose(found, want, atol=1e-12)
    assert np.allclose(combine(list(log_probs), weights, of), want, atol=1e-12)
    assert np.allclose(tempered(log_probs[0], 1.7), tempered(log_probs[0].numpy(), 1.7))


def test_a_mean_of_probabilities_is_scipys():
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(7), (4, 50)) ** 9)
    weights = np.array([3.0, 0.5, 1.0, 2.0])
    want = logsumexp(log_probs, axis=0, b=weights[:, None, None] / weights.sum())
    assert np.allclose(combine(log_probs, weights), want, rtol=1e-12)


def test_a_failed_image_stays_failed():
    log_probs = np.log(np.concatenate([P, P], axis=1))
    log_probs[1, 0] = np.nan
    assert np.isnan(combine(log_probs)).all(axis=1).tolist() == [True, False]


def test_members_are_calibrated_and_weighed_on_held_out_images():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 500)
    knowing = 2 * np.eye(4)[labels] + rng.normal(size=(500, 4))
    ignorant = rng.normal(size=(500, 4))
    log_probs = np.stack([tempered(one, 0.2) for one in (knowing, ignorant)])  # far too sure
    mean = CalibratedMean.fit(log_probs, labels)
    assert mean.temperatures == tuple(fit_temperature(one, labels) for one in log_probs)
    assert min(mean.temperatures) > 2 and mean.weights[0] > 5 * mean.weights[1]
    assert nll(mean(log_probs), labels) < nll(combine(log_probs), labels) / 2


def test_an_ensemble_is_one_network():
    networks = [torch.nn.Linear(2, 3) for _ in range(3)]
    inputs = torch.randn(5, 2)
    whole = Ensemble(networks, CalibratedMean((0.5, 1.0, 2.0), (3.0, 0.0, 1.0)))
    odds = [
        (network(inputs) / t).softmax(1) for network, t in zip(networks, (0.5, 1, 2), strict=True)
    ]
    assert len(whole.networks) == 2  # what counts for nothing is not run
    assert torch.allclose(whole(inputs).softmax(1), odds[0] * 0.75 + odds[2] * 0.25, atol=1e-6)
    with pytest.raises(ValueError, match="nothing to average"):
        Ensemble(networks, CalibratedMean((1.0,) * 3, (0.0,) * 3))


@pytest.mark.parametrize("of", ["probabilities", "logits"])
def test_a_mean_over_many_classes_takes_little_memory(of, monkeypatch):
    draw = np.random.default_rng(0)
    logs = -draw.standard_exponential((6, 4000, 1000), dtype=np.float32)
    parts = list(logs)
    tracemalloc.start()
    found = combine(parts, [1, 2, 3, 4, 5, 6], of)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < found.nbytes + 6 * 4 * arrays.CELLS  # steps of some rows, none of the whole
    monkeypatch.setattr(arrays, "CELLS", 10**12)
    assert (combine(logs, [1, 2, 3, 4, 5, 6], of) == found).all()
