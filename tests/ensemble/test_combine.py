"""Ensemble arithmetic, by hand on small numbers."""

import sys
import tracemalloc

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from polyak.ensemble import basin, combine, disagreement, greedy, greedy_soup, nll, soup, tempered

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


def test_greedy_leaves_the_useless_out():
    labels = np.array([0, 0, 1])
    good = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
    other = np.array([[0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])
    bad = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1]])
    assert set(greedy(np.log([bad, good, other]), labels)) == {1, 2}
    with pytest.raises(ValueError):
        greedy(np.log([good])[:0], labels)


def test_greedy_weighs_nearly_as_well_as_can_be():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2000)
    truth = np.eye(5)[labels]
    # members that know more and more, each with errors of its own
    logits = np.stack([k * truth + rng.normal(0, 1.5, truth.shape) for k in (1.0, 2.0, 3.0)])
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def loss(free):
        return nll(combine(logs, np.exp(free) / np.exp(free).sum()), labels)

    optimum = minimize(loss, np.zeros(3), method="Nelder-Mead").fun
    chosen = greedy(logs, labels)
    found = nll(combine(logs[chosen]), labels)
    alone, together = nll(logs[2], labels), nll(combine(logs), labels)
    assert optimum - 1e-9 <= found <= optimum + 0.1 * (min(alone, together) - optimum)
    assert found < min(alone, together) - 0.01
    assert len(chosen) <= 20 and chosen.count(2) > chosen.count(1) >= chosen.count(0)


def test_soup_by_hand_and_refused():
    one = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
    two = {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(9)}
    mixed = soup([one, two])
    assert mixed["w"].tolist() == [2.0, 4.0] and mixed["n"].item() == 3
    assert torch.equal(soup([one])["w"], one["w"])
    with pytest.raises(ValueError, match="one architecture"):
        soup([one, {"w": torch.zeros(3)}])


def test_a_greedy_soup_is_never_worse_than_its_best():
    parts = [{"w": torch.tensor([x])} for x in (5.0, 4.0, 3.5)]
    alone = [abs(p["w"].item() - 3) for p in parts]
    _, chosen, loss = greedy_soup(parts, alone, lambda s: abs(s["w"].item() - 3))
    assert chosen == [2] and loss == min(alone)


def test_a_barrier_is_a_reason():
    assert basin(1.0, [0.9, 1.0]) == ""
    assert "not in one basin" in basin(1.01, [0.9, 1.0])


@pytest.mark.parametrize("of", ["probabilities", "logits"])
def test_a_mean_over_many_classes_takes_little_memory(of, monkeypatch):
    logs = np.log(np.random.default_rng(0).dirichlet(np.ones(500), (6, 2000)).astype(np.float32))
    parts = list(logs)
    tracemalloc.start()
    found = combine(parts, [1, 2, 3, 4, 5, 6], of)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < found.nbytes + 14 * 2**22  # of which the members were a copy
    monkeypatch.setattr(sys.modules["polyak.ensemble.combine"], "_CELLS", 10**12)
    assert (combine(logs, [1, 2, 3, 4, 5, 6], of) == found).all()
