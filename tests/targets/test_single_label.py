"""One label an image: what its targets, losses and decisions are, in numbers known beforehand."""

import numpy as np
import torch

from polyak.targets import SINGLE_LABEL

LOGITS = np.log([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]])
LABELS = np.array([0, 0, 2, 1])


def test_the_loss_is_the_mean_of_minus_log_of_the_label():
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS)
    want = -np.log([0.7, 0.25, 0.8, 0.3]).mean()
    assert abs(SINGLE_LABEL.loss(logits, labels).item() - want) < 1e-6
    soft = SINGLE_LABEL.soft(labels, 3)
    assert abs(SINGLE_LABEL.loss(logits, soft).item() - want) < 1e-6


def test_smoothing_spreads_its_share_over_all_classes():
    logits, labels = torch.from_numpy(LOGITS[:1]), torch.from_numpy(LABELS[:1])
    want = -(0.7 * np.log(0.7) + 0.3 * np.log([0.7, 0.2, 0.1]).mean())
    assert abs(SINGLE_LABEL.loss(logits, labels, label_smoothing=0.3).item() - want) < 1e-6


def test_decisions_and_scores():
    odds = SINGLE_LABEL.probabilities(LOGITS)
    assert SINGLE_LABEL.decide(odds).tolist() == [0, 1, 2, 0]
    accuracy, nll = SINGLE_LABEL.score(LOGITS, LABELS)
    assert accuracy == 0.5 and abs(nll - SINGLE_LABEL.losses(LOGITS, LABELS).mean()) < 1e-12
    assert np.allclose(SINGLE_LABEL.losses(LOGITS, LABELS), -np.log([0.7, 0.25, 0.8, 0.3]))
    found = SINGLE_LABEL.evaluate(odds, LABELS)
    assert (found.n, found.accuracy.value) == (4, 0.5) and abs(found.nll.value - nll) < 1e-9


def test_an_answer_that_is_too_sure_is_cooled_and_tensors_are_as_arrays():
    sharp = LOGITS * 5
    temperature = SINGLE_LABEL.temperature(sharp, LABELS)
    assert 1.5 < temperature < 5
    cooled = SINGLE_LABEL.log_probs(sharp, temperature)
    assert SINGLE_LABEL.score(cooled, LABELS)[1] < SINGLE_LABEL.score(sharp, LABELS)[1]
    same = SINGLE_LABEL.log_probs(torch.from_numpy(sharp), temperature)
    assert np.allclose(same.numpy(), cooled)


def test_figures_name_what_is_taken_for_what():
    figures = SINGLE_LABEL.figures(np.exp(LOGITS), LABELS, ("cat", "dog", "bee"))
    assert ("cat", "dog", 1) in [tuple(one)[:3] for one in figures.confusions]
    assert ("dog", "cat", 1) in [tuple(one)[:3] for one in figures.confusions]
    told = figures.as_json("val")
    assert told["evaluation"]["split"] == "val" and told["evaluation"]["n"] == 4
    assert any(line.startswith("never right: dog") for line in told["cautions"])
