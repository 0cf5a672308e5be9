"""The choice: gains image by image, drawn to what is known before; the cheapest of the best."""

from dataclasses import replace

import numpy as np
import pytest

from polyak import metrics
from polyak.transfer import ranking
from polyak.transfer.ranking import Row


def row(strategy, right, n=1000):
    """A row that was right `right` times, and not always on the images that another was."""
    said = np.random.default_rng(right).permutation(np.where(np.arange(n) < right, 0.9, 0.1))
    return Row.of(strategy, np.log([said, 1 - said]).T, np.zeros(n, int), 1.0)


def test_a_gain_is_measured_on_the_images_of_both():
    hard = np.random.default_rng(0).exponential(size=400)  # for every strategy
    base = replace(row("linear", 200, 400), losses=hard)
    better = replace(base, strategy="few", losses=hard - 0.3 - 0.1 * np.cos(np.arange(400)))
    half = np.where(np.arange(400) < 200, better.losses, np.nan)
    assert ranking.gain(better, base) == pytest.approx(0.3, abs=0.01)
    assert ranking.gain(replace(better, losses=half), base) == pytest.approx(0.3, abs=0.01)
    few = replace(better, losses=np.where(np.arange(400) < 4, better.losses, np.nan))
    assert 0.05 < ranking.gain(few, base) < 0.2  # four prove little
    noisy = replace(base, losses=np.random.default_rng(1).permutation(hard) - 0.3)
    fewer = replace(noisy, losses=np.where(np.arange(400) < 20, noisy.losses, np.nan))
    assert ranking.gain(fewer, base) < ranking.gain(noisy, base) < 0.3
    nothing = replace(better, losses=np.full(400, np.nan))
    hoped = 0.0422  # 6 % of the base's 0.703, before anything is measured
    assert ranking.gain(nothing, base) == pytest.approx(hoped, abs=1e-4)


def test_a_run_cut_short_is_believed_by_its_share():
    base = replace(row("linear", 5000, 10_000), losses=np.full(10_000, 0.8))
    base = replace(base, nll=metrics.Estimate(0.8, 0.8, 0.8))
    worse = replace(base, strategy="few", losses=np.full(10_000, 0.9))  # by 0.1, beyond doubt
    gains = [ranking.gain(replace(worse, share=share), base) for share in (1.0, 0.5, 0.25, 1e-9)]
    # from what was measured, -0.1, to what is expected before: 6 % of 0.8
    assert gains == pytest.approx([-0.1, -0.026, 0.011, 0.048], abs=1e-5)
    # 400 images, of which trials of a few percent saw next to nothing
    rows = [base, *(replace(worse, strategy=name, share=0.04) for name in ("few", "many"))]
    assert ranking.choose(rows, 400)[0].strategy == "many"
    assert ranking.choose([replace(row, share=1.0) for row in rows], 400)[0].strategy == "linear"


def test_of_two_cut_trials_the_longer_is_compared_with_the_probe():
    base = replace(row("linear", 50, 100), losses=np.linspace(0.5, 1, 100))
    few = replace(base, strategy="few", losses=base.losses - 0.2, share=0.1)
    many = replace(base, strategy="many", losses=base.losses - 0.1, share=0.8)
    expected = ranking.expectations([base, few, many], 10)
    assert expected["many"] == ranking.gain(many, base)


@pytest.mark.parametrize(
    ("rights", "n", "chosen"),
    [
        ({"linear": 900, "few": 950}, 1000, "few"),
        ({"linear": 500, "few": 950, "all": 951}, 1000, "few"),
        ({"linear": 10, "few": 10}, 10, "linear"),
        ({"linear": 7, "few": 8}, 10, "few"),  # hoped for, and not gainsaid
        ({"linear": 8, "few": 8}, 10, "few"),
        ({"linear": 90, "few": 80}, 100, "linear"),
        ({"linear": 910, "few": 911}, 1000, "linear"),  # a hundredth of a nat is not worth it
        ({"linear": 6000, "stages": 6020, "few": 7000}, 10_000, "few"),
    ],
)
def test_the_cheapest_that_is_hardly_worse_than_the_best(rights, n, chosen):
    found, why = ranking.choose([row(name, right, n) for name, right in rights.items()], 10)
    assert found.strategy == chosen and why


def test_probes_are_compared_by_nll_not_by_a_coarse_accuracy():
    sure = replace(row("stages", 80, 100), nll=metrics.Estimate(0.40, 0.3, 0.5))
    unsure = replace(row("linear", 82, 100), nll=metrics.Estimate(0.55, 0.4, 0.7))
    assert ranking.choose([unsure, sure], 10)[0].strategy == "stages"


@pytest.mark.parametrize(
    ("images", "chosen"), [(2, "few"), (20, "few"), (100, "few"), (500, "many"), (9000, "many")]
)
def test_where_trials_do_not_tell_more_images_pay_for_more_stages(images, chosen):
    rows = [row("linear", 5, 10), *(row(name, 7, 10) for name in ("few", "many", "all"))]
    assert ranking.choose(rows, images)[0].strategy == chosen


def test_fine_tunings_are_told_apart_among_themselves():
    hard = np.random.default_rng(0).exponential(size=120)
    luck = np.random.default_rng(1).normal(0, 1, 120)  # what fine-tuning does to each image
    few = replace(row("few", 80, 120), losses=hard + luck)
    many = replace(few, strategy="many", losses=hard + luck - 0.1)
    rows = [replace(row("linear", 80, 120), losses=hard), few, many]
    expected = ranking.expectations(rows, 10)
    assert expected["many"] - expected["few"] == pytest.approx(0.1, abs=0.02)
    # four images of the one do not hide what all say of the other
    short = replace(few, losses=np.where(np.arange(120) < 4, few.losses + 2, np.nan))
    cut = ranking.expectations([rows[0], short, many], 10)
    assert cut["many"] == pytest.approx(ranking.gain(many, rows[0]))
    assert cut["few"] < cut["many"]


def test_a_strategy_is_judged_as_sure_as_its_model_file_would_be():
    right = np.arange(1000) < 800
    sure, calm = (np.log(np.where(right, p, 1 - p)) for p in (0.999, 0.8))
    rows = [Row.of(name, np.stack([logs, np.log1p(-np.exp(logs))], 1), np.zeros(1000, int), 1.0)
            for name, logs in (("few", sure), ("linear", calm))]  # fmt: skip
    assert rows[0].nll.value == pytest.approx(rows[1].nll.value, abs=0.01)  # both know as much
