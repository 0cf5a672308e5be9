"""The planner: the lecture's cell, the curve over data, the budget's halving, the choice."""

from dataclasses import replace

import numpy as np
import pytest

from polyak import metrics
from polyak.transfer import planner, probe
from polyak.transfer.planner import Row


def row(strategy, right, n=1000):
    """A row that was right `right` times, and not always on the pictures that another was."""
    said = np.random.default_rng(right).permutation(np.where(np.arange(n) < right, 0.9, 0.1))
    return Row.of(strategy, np.log([said, 1 - said]).T, np.zeros(n, int), 1.0)


def pictures(each, noise, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.repeat([0, 1], each)
    x = np.stack([labels * 2 - 1, 0 * labels], 1) + noise * draw.normal(size=(2 * each, 2))
    return x.astype(np.float32), labels


@pytest.mark.parametrize("each", [20, 250])
@pytest.mark.parametrize("best", ["stage", "maps", "head"])
def test_the_cell_follows_counts_and_the_best_stage(each, best):
    by_stage = {}
    for name in ("stage", "maps", "head"):
        x, labels = pictures(each, 0.5 if name == best else 3.0)
        by_stage[name] = probe(x, labels, 2)
    found = planner.cell(labels, by_stage)
    assert found.amount == ("much" if each >= planner.MUCH else "little")
    assert found.kind == ("different" if best == "stage" else "similar")
    assert found.strategy == planner.CELLS[found.amount, found.kind]
    assert str(each) in found.why and best in found.why


def test_the_curve_rises_and_judges_by_pictures_it_did_not_see():
    x, labels = pictures(150, 1.5)
    points = planner.curve(x, labels, 2, 0.1)
    assert [point["each"] for point in points] == [5, 10, 20, 50, 100]
    assert [point["n"] for point in points] == [10, 20, 40, 100, 200]
    assert points[-1]["accuracy"] > points[0]["accuracy"]
    nonsense = planner.curve(x, np.random.default_rng(0).permutation(labels), 2, 0.1)
    assert all(abs(point["accuracy"] - 0.5) < 0.12 for point in nonsense)


def test_a_class_of_one_picture_has_a_curve():
    x, labels = pictures(30, 1.0)
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


def test_a_gain_is_measured_on_the_pictures_of_both():
    hard = np.random.default_rng(0).exponential(size=400)  # for every strategy
    base = replace(row("linear", 200, 400), losses=hard)
    better = replace(base, strategy="few", losses=hard - 0.3 - 0.1 * np.cos(np.arange(400)))
    half = np.where(np.arange(400) < 200, better.losses, np.nan)
    assert planner.gain(better, base) == pytest.approx(0.3, abs=0.01)
    assert planner.gain(replace(better, losses=half), base) == pytest.approx(0.3, abs=0.01)
    few = replace(better, losses=np.where(np.arange(400) < 4, better.losses, np.nan))
    assert 0.05 < planner.gain(few, base) < 0.2  # four prove little
    noisy = replace(base, losses=np.random.default_rng(1).permutation(hard) - 0.3)
    fewer = replace(noisy, losses=np.where(np.arange(400) < 20, noisy.losses, np.nan))
    assert planner.gain(fewer, base) < planner.gain(noisy, base) < 0.3
    nothing = replace(better, losses=np.full(400, np.nan))
    assert planner.gain(nothing, base) == 0.05  # what is hoped for before anything is measured


@pytest.mark.parametrize(
    ("rights", "n", "chosen"),
    [
        ({"linear": 900, "few": 950}, 1000, "few"),
        ({"linear": 500, "few": 950, "all": 951}, 1000, "few"),
        ({"linear": 10, "few": 10}, 10, "linear"),
        ({"linear": 8, "few": 8}, 10, "linear"),
        ({"linear": 7, "few": 8}, 10, "few"),  # hoped for, and not gainsaid
        ({"linear": 910, "few": 911}, 1000, "linear"),  # a hundredth of a nat is not worth it
        ({"linear": 5000, "stages": 5020, "few": 5200}, 10_000, "few"),
    ],
)
def test_the_cheapest_that_is_hardly_worse_than_the_best(rights, n, chosen):
    found, why = planner.choose([row(name, right, n) for name, right in rights.items()])
    assert found.strategy == chosen and why


def test_probes_are_compared_by_nll_not_by_a_coarse_accuracy():
    sure = replace(row("stages", 80, 100), nll=metrics.Estimate(0.40, 0.3, 0.5))
    unsure = replace(row("linear", 82, 100), nll=metrics.Estimate(0.55, 0.4, 0.7))
    assert planner.choose([unsure, sure])[0].strategy == "stages"
