"""The planner: the lecture's cell, the curve over data, the budget's halving."""

import numpy as np
import pytest

from polyak.transfer import planner, probe


def images(each, noise, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.repeat([0, 1], each)
    x = np.stack([labels * 2 - 1, 0 * labels], 1) + noise * draw.normal(size=(2 * each, 2))
    return x.astype(np.float32), labels


@pytest.mark.parametrize(
    ("each", "best", "amount", "kind", "strategy"),
    [
        (20, "head", "little", "similar", "linear"),
        (20, "maps", "little", "similar", "linear"),
        (20, "stage", "little", "different", "stages"),
        (199, "head", "little", "similar", "linear"),
        (200, "head", "much", "similar", "few"),
        (250, "maps", "much", "similar", "few"),
        (250, "stage", "much", "different", "many"),
    ],
)
def test_the_cell_follows_counts_and_the_best_stage(each, best, amount, kind, strategy):
    by_stage = {}
    for name in ("stage", "maps", "head"):
        x, labels = images(each, 0.5 if name == best else 3.0)
        by_stage[name] = probe(x, labels, 2)
    found = planner.cell(labels, by_stage)
    assert (found.amount, found.kind, found.strategy) == (amount, kind, strategy)
    assert str(each) in found.why and best in found.why


def test_the_curve_rises_and_judges_by_images_it_did_not_see():
    x, labels = images(150, 1.5)
    points = planner.curve(x, labels, 2, 0.1)
    assert [point["each"] for point in points] == [5, 10, 20, 50, 100]
    assert [point["n"] for point in points] == [10, 20, 40, 100, 200]
    assert points[-1]["accuracy"] > points[0]["accuracy"]
    nonsense = planner.curve(x, np.random.default_rng(0).permutation(labels), 2, 0.1)
    assert all(abs(point["accuracy"] - 0.5) < 0.12 for point in nonsense)


def test_what_looks_like_a_learnt_image_does_not_judge_the_curve():
    things, labels = np.random.default_rng(0).normal(size=(60, 100)), np.arange(60) % 2
    x = np.repeat(things, 5, 0).astype(np.float32)  # five images of each thing; nothing to learn
    labels, groups = np.repeat(labels, 5), np.repeat(np.arange(60), 5)
    flattered = planner.curve(x, labels, 2, 0.01)[-1]
    honest = planner.curve(x, labels, 2, 0.01, groups=groups)[-1]
    assert flattered["each"] == 100 and flattered["accuracy"] > 0.9
    assert all(
        point["accuracy"] < 0.7 for point in planner.curve(x, labels, 2, 0.01, groups=groups)
    )
    assert honest["each"] < 100  # nothing is left to judge


def test_a_class_of_one_image_has_a_curve():
    x, labels = images(30, 1.0)
    labels[-1] = 2
    assert len(planner.curve(x, labels, 3, 0.1)) == 3


def test_the_budget_is_spread_over_all_and_then_the_better():
    clock, worth = [0.0], {"a": 10, "b": 30, "c": 20}
    spent = []

    def trial(name, seconds):
        spent.append((name, seconds))
        clock[0] += seconds / 2 if name == "a" else seconds  # one has nothing more to do
        return name

    list(planner.halving(["a", "b", "c"], 60, trial, worth.get, lambda: clock[0]))
    assert clock[0] == pytest.approx(60)  # what one left, others had
    assert [name for name, _ in spent] == ["a", "b", "c", "b", "c"]
    assert [seconds for _, seconds in spent] == pytest.approx([10, 11, 11, 16.5, 16.5])
