"""Probes against scikit-learn's logistic regression, and their cross-validation."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from polyak import transfer
from polyak.transfer.probes import LAST


def data(n=90, width=12, classes=3, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, width)) * draw.uniform(0.1, 3, width) + draw.normal(size=width)
    scores = x @ draw.normal(size=(width, classes)) + 2 * draw.normal(size=(n, classes))
    labels = scores.argmax(1)
    labels[:classes] = range(classes)
    return x.astype(np.float32), labels


@pytest.mark.parametrize("l2", [1.0, 0.01, 1e-4])
@pytest.mark.parametrize(("n", "width"), [(90, 12), (40, 150)])
def test_the_solution_is_scikit_learns(n, width, l2):
    x, labels = data(n, width)
    rows = torch.from_numpy(x).double()
    turned = transfer.Rotation.of(rows)
    ones, strength = torch.ones(1, n).double(), torch.tensor([l2]).double()
    weight, bias = transfer.solve(
        turned(rows), torch.from_numpy(labels), ones, strength, turned.spread, 3,
        tolerance=LAST / 1000, steps=5000,
    )  # fmt: skip
    weight, bias = turned.folded(weight[0], bias[0])
    wide = x.astype(float)
    standard = (wide - wide.mean(0)) / turned.scale.numpy()
    peer = LogisticRegression(C=1 / (n * l2), tol=1e-10, max_iter=100_000).fit(standard, labels)
    ours = torch.softmax(rows @ weight.T + bias, 1).numpy()
    np.testing.assert_allclose(ours, peer.predict_proba(standard), atol=2e-5)


def test_a_few_images_do_not_settle_how_much_a_feature_varies():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2000, 50)).astype(np.float32)
    x[:, 25:] *= 10  # another stage
    few = transfer.Rotation.of(torch.from_numpy(x[:4]), (25, 25)).scale.numpy()
    many = transfer.Rotation.of(torch.from_numpy(x), (25, 25)).scale.numpy()
    apart = np.abs(np.log(few / x.std(0)))
    alone = np.abs(np.log(x[:4].std(0) / x.std(0)))
    assert apart.max() < 0.6 < alone.max()
    np.testing.assert_allclose(many, x.std(0), rtol=2e-3)


def test_problems_solved_together_are_those_solved_alone():
    x, labels = data()
    rows, known = torch.from_numpy(x).double(), torch.from_numpy(labels)
    turned = transfer.Rotation.of(rows)
    masks = (torch.rand(3, len(x), generator=torch.Generator().manual_seed(0)) < 0.8).double()
    l2 = torch.tensor([0.1, 0.1, 0.001]).double()
    how = {"spread": turned.spread, "classes": 3, "tolerance": 1e-9, "steps": 5000}
    together, _ = transfer.solve(turned(rows), known, masks, l2, **how)
    for number in range(3):
        some = masks[number] > 0
        alone, _ = transfer.solve(
            turned(rows)[some], known[some], torch.ones(1, int(some.sum())).double(),
            l2[number : number + 1], **how,
        )  # fmt: skip
        torch.testing.assert_close(alone[0], together[number], rtol=0, atol=1e-6)


def test_the_strength_is_cross_validations_and_figures_are_honest():
    x, labels = data(300, 20)
    found = transfer.probe(x, labels, 3)
    nothing = transfer.probe(x, np.random.default_rng(1).permutation(labels), 3)
    assert found.measured.n == 300
    assert found.measured.accuracy.value > 0.5
    assert nothing.l2 > found.l2
    assert nothing.measured.accuracy.low < max(np.bincount(labels)) / 300


def test_features_that_do_not_change_do_no_harm():
    x, labels = data()
    wide = np.concatenate([x, np.full((len(x), 2), 7, np.float32)], 1)
    plain, odd = transfer.probe(x, labels, 3), transfer.probe(wide, labels, 3)
    np.testing.assert_allclose(odd.logits(wide), plain.logits(x), atol=1e-4)
    assert np.abs(odd.weight[:, -2:]).max() == 0


def test_images_of_one_thing_judge_nothing_that_learnt_from_it():
    things, labels = np.random.default_rng(0).normal(size=(60, 100)), np.arange(60) % 2
    x, labels = np.repeat(things, 5, 0).astype(np.float32), np.repeat(labels, 5)
    groups = np.repeat(np.arange(60), 5)
    flattered = transfer.probe(x, labels, 2)
    honest = transfer.probe(x, labels, 2, fold=transfer.folds(labels, 0, groups=groups))
    assert flattered.measured.accuracy.value > 0.95
    assert honest.measured.accuracy.value < 0.7 and honest.l2 > flattered.l2


def test_folds_are_even_and_singles_always_train():
    labels = np.array([0] * 10 + [1] * 5 + [2])
    part = transfer.folds(labels, seed=3)
    assert part[-1] == -1
    assert np.bincount(part[:10]).tolist() == [2] * 5
    assert np.bincount(part[10:15]).tolist() == [1] * 5
    assert (part != transfer.folds(labels, seed=4)).any()


@pytest.mark.parametrize("counts", [(20, 1), (1, 1, 1), (2, 2)])
def test_classes_of_one_image(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    x = np.eye(len(counts), dtype=np.float32)[labels]
    x += 0.01 * np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    found = transfer.probe(x, labels, len(counts))
    assert found.logits(x).argmax(1).tolist() == labels.tolist()
    assert np.isfinite(found.weight).all() and np.isfinite(found.bias).all()
    assert (found.measured is None) == (max(counts) == 1)


def test_features_that_never_change_leave_the_frequencies():
    labels = np.array([0] * 30 + [1] * 10)
    for width in (3, 60):  # narrower and wider than there are images
        found = transfer.probe(np.ones((40, width), np.float32), labels, 2)
        said = np.exp(found.logits(np.ones((1, width), np.float32)))
        assert (said / said.sum()).ravel() == pytest.approx([0.75, 0.25], abs=0.01)
        assert found.measured.accuracy.value == 0.75
