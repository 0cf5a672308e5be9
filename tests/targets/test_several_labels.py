"""Several labels an image: against scikit-learn and torch, and by laws."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, log_loss
from torch.nn import functional

from polyak import metrics, transfer
from polyak.augment.mix import cutmix, mixup
from polyak.ensemble import CalibratedMean, Ensemble, combine, greedy, tempered
from polyak.targets import SEVERAL_LABELS, SeveralLabels, read_kind
from polyak.transfer.logistic import Rotation, solve

KIND = SEVERAL_LABELS


def said(n=400, classes=5, seed=0):
    """Labels, and logits that know something of them: (int (n, K), float64 (n, K))."""
    draw = np.random.default_rng(seed)
    labels = (draw.random((n, classes)) < 0.3).astype(np.int64)
    return labels, draw.normal(size=(n, classes)) + 2 * labels - 1.5


def test_figures_are_scikit_learns():
    labels, logits = said()
    p = expit(logits).round(2)  # some are equal
    found = metrics.evaluate_several(p, labels, np.full(5, 0.5))
    decided = p >= 0.5
    assert found.map.value == pytest.approx(average_precision_score(labels, p))
    assert found.f1.value == pytest.approx(f1_score(labels, decided, average="macro"))
    assert found.micro_f1.value == pytest.approx(f1_score(labels, decided, average="micro"))
    each = [log_loss(labels[:, k], p[:, k].clip(1e-9, 1 - 1e-9)) for k in range(5)]
    assert found.nll.value == pytest.approx(sum(each), rel=1e-6)
    assert found.accuracy.value == (decided == labels).all(1).mean()
    for figure in (found.map, found.f1, found.micro_f1, found.nll, found.ece):
        assert figure.low <= figure.value <= figure.high
        assert figure.high - figure.low < 0.5


def test_intervals_hold_the_truth_of_the_population():
    labels, logits = said(40_000, seed=5)
    truth = metrics.mean_average_precision(logits, labels)
    inside = 0
    for part in range(60):
        rows = slice(part * 400, part * 400 + 400)
        one = metrics.evaluate_several(
            expit(logits[rows]), labels[rows], np.full(5, 0.5), resamples=200, seed=part
        )
        inside += one.map.low <= truth <= one.map.high
    assert inside >= 52  # of 60, by 95 %


def test_what_is_not_known_takes_part_in_nothing():
    labels, logits = said()
    p = expit(logits)
    holes = np.random.default_rng(1).random(labels.shape) < 0.2
    known = np.where(holes, -1, labels)
    found = metrics.evaluate_several(p, known, np.full(5, 0.5))
    each = [average_precision_score(labels[~h, k], p[~h, k]) for k, h in enumerate(holes.T)]
    assert found.map.value == pytest.approx(np.mean(each))
    moved = np.where(holes, 1 - p, p)
    assert metrics.evaluate_several(moved, known, np.full(5, 0.5)) == found
    tensor, answer = torch.tensor(logits), torch.tensor(known)
    lost = KIND.loss(tensor, answer)
    assert lost.item() == pytest.approx(found.nll.value, rel=1e-5)
    assert KIND.loss(torch.tensor(np.where(holes, 9.0, logits)), answer).item() == lost.item()


def test_the_loss_is_torchs():
    labels, logits = said(8)
    x, y = torch.tensor(logits).float(), torch.tensor(labels)
    plain = functional.binary_cross_entropy_with_logits(x, y.float(), reduction="sum") / 8
    assert KIND.loss(x, y).item() == pytest.approx(plain.item())
    smooth = y * 0.8 + 0.1
    wanted = functional.binary_cross_entropy_with_logits(x, smooth, reduction="sum") / 8
    assert KIND.loss(x, y, 0.2).item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_mixed_targets_are_mixed_labels_and_forget_what_is_not_known(mix):
    labels = torch.tensor([[1, 0, -1], [0, 1, 1], [1, 1, 0], [0, 0, 1]])
    images = labels.clamp(min=0).float()[:, :, None, None].expand(-1, -1, 8, 8).contiguous()
    new, targets = mix(images, KIND.soft(labels, 3), seed=3, step=1, alpha=1.0)
    share = new.mean((2, 3))  # each colour says how much of each label is in the image
    torch.testing.assert_close(targets[:, :2], share[:, :2])
    assert targets[:, 2].isnan().any() and not targets[:, :2].isnan().any()
    assert KIND.loss(torch.zeros(4, 3), targets).isfinite()


def test_thresholds_are_of_the_best_f1():
    labels, logits = said(300)
    p = expit(logits)
    for k, chosen in enumerate(metrics.choose_thresholds(p, labels)):
        reached = f1_score(labels[:, k], p[:, k] >= chosen)
        best = max(f1_score(labels[:, k], p[:, k] >= t) for t in p[:, k])
        assert reached == pytest.approx(best)
    few = np.zeros_like(labels)
    few[:4] = 1
    assert metrics.choose_thresholds(p, few).tolist() == [0.5] * 5


def test_a_temperature_mends_logits_that_are_too_large():
    draw = np.random.default_rng(2)
    logits = draw.normal(size=(20_000, 3))
    labels = (draw.random(logits.shape) < expit(logits)).astype(int)
    log_probs = KIND.log_probs(3 * logits)
    assert KIND.temperature(log_probs, labels) == pytest.approx(3, rel=0.05)
    mended = tempered(log_probs, 3.0, KIND)
    np.testing.assert_allclose(np.exp(mended), expit(logits), atol=1e-9)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 80.0])
def test_log_probabilities_lose_nothing(size):
    logits = np.array([[-size, size]], np.float32)
    back = KIND.logits(KIND.log_probs(logits))
    np.testing.assert_allclose(back, logits, rtol=2e-4)
    tensor = torch.tensor(logits)
    torch.testing.assert_close(KIND.logits(KIND.log_probs(tensor)), tensor, rtol=2e-4, atol=0)
    np.testing.assert_allclose(KIND.log_probs(tensor).numpy(), KIND.log_probs(logits), rtol=1e-6)


def test_members_are_averaged_in_probabilities_or_logits():
    _, one = said(seed=1)
    _, two = said(seed=2)
    logs = np.stack([KIND.log_probs(one), KIND.log_probs(two)])
    np.testing.assert_allclose(np.exp(combine(logs)), (expit(one) + expit(two)) / 2, atol=1e-12)
    geometric = np.exp(combine(logs, of="logits", kind=KIND))
    np.testing.assert_allclose(geometric, expit((one + two) / 2), atol=1e-9)
    nets = [torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)]
    x = torch.randn(6, 4)
    whole = Ensemble(nets, CalibratedMean((1.0, 2.0), (1.0, 1.0), kind=KIND))(x).sigmoid()
    wanted = (nets[0](x).sigmoid() + (nets[1](x) / 2).sigmoid()) / 2
    torch.testing.assert_close(whole, wanted)


def test_selection_takes_the_members_that_lower_the_loss():
    labels, logits = said()
    wrong = -logits
    logs = np.stack([KIND.log_probs(wrong), KIND.log_probs(logits)])
    assert set(greedy(logs, labels)) == {1}


def test_probes_are_scikit_learns_one_against_the_rest():
    draw = np.random.default_rng(3)
    x = torch.tensor(draw.normal(size=(200, 6)))
    y = (x.numpy() @ draw.normal(size=(6, 3)) + draw.normal(size=(200, 3)) > 0.5).astype(int)
    holes = draw.random(y.shape) < 0.2
    labels = torch.tensor(np.where(holes, -1, y))
    turned = Rotation.of(x)
    z = turned(x)
    weight, bias = solve(
        z, labels, torch.ones(1, 200).double(), torch.tensor([0.01]).double(), turned.spread, 3,
        tolerance=1e-8,
    )  # fmt: skip
    for k in range(3):
        known = ~holes[:, k]
        machine = LogisticRegression(C=1 / (0.01 * 200), tol=1e-10, max_iter=10_000)
        machine.fit(z.numpy()[known], y[known, k])
        np.testing.assert_allclose(weight[0, :, k], machine.coef_[0], atol=1e-4)
        np.testing.assert_allclose(bias[0, k], machine.intercept_[0], atol=1e-4)


def test_a_probe_of_several_labels_is_cross_validated():
    draw = np.random.default_rng(4)
    x = draw.normal(size=(300, 5)).astype(np.float32)
    labels = (x[:, :2] + 0.3 * draw.normal(size=(300, 2)) > 0).astype(int)
    found = transfer.probe(x, labels, 2)
    assert found.measured.map.value > 0.95 and found.log_probs.shape == (300, 2)
    assert found.weight.shape == (2, 5)


@pytest.mark.parametrize("facts", [
    {"kind": "three labels"}, {"kind": "several labels", "thresholds": [0.5]},
    {"kind": "several labels", "thresholds": [0.5, 2]}, {"kind": 3},
    {"kind": "several labels", "thresholds": [0.5, float("nan")]},
    {"kind": "several labels", "thresholds": {"a": 1}},
])  # fmt: skip
def test_a_file_is_read_with_suspicion(facts):
    with pytest.raises(ValueError, match=r"kind|threshold"):
        read_kind(facts, 2)


def test_decisions_go_by_the_labels_own_thresholds():
    kind = SeveralLabels((0.2, 0.9))
    assert kind.decide(np.array([[0.3, 0.8], [0.1, 0.95]])).tolist() == [[1, 0], [0, 1]]
    found = kind.figures(np.array([[0.1, 0.95]] * 6), np.array([[1, 0]] * 6), ["cat", "dog"])
    assert found.confusions[0] == metrics.Confusion("cat", "dog", 6, 1.0)
    assert found.cautions == ["never given where it is right: cat"]
