"""Caruana's selection: who is of no use is left out, and the others are weighed."""

import numpy as np
import pytest
from scipy.optimize import minimize

from polyak.ensemble import combine, greedy
from polyak.metrics import nll


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
