"""Prediction sets hold the true class as often as they promise, and say when they cannot."""

import csv
import json

import numpy as np
import pytest

import jobs
from polyak import cli, load
from polyak.errors import UsageError
from polyak.metrics.conformal import MOST, Conformal, Coverage
from polyak.recipe import make


def drawn(n, classes=5, seed=0, sharp=1.5):
    """Probabilities and labels that are drawn by other ones: a model that is not calibrated."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes)) * sharp
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (random.random((n, 1)) > odds.cumsum(1)).sum(1).clip(0, classes - 1)
    told = np.exp(2 * logits)
    return told / told.sum(1, keepdims=True), labels


def covered_share(sets, labels):
    return Coverage.of(sets, labels, 0.9, "abcde").covered.value


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [120, 1000])
def test_the_promise_holds_on_average_for_a_model_that_is_not_calibrated(level, n):
    covered = []
    for seed in range(60):
        odds, labels = drawn(2 * n, seed=seed)
        found = Conformal.of(odds[:n], labels[:n], "test")
        covered.append(covered_share(found.sets(odds[n:], level), labels[n:]))
    assert level - 0.008 < np.mean(covered) < level + 1 / n + 0.012


@pytest.mark.parametrize("n", [7, 40, 333])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_threshold_is_the_quantile_of_the_finite_sample(n, level):
    odds, labels = drawn(n)
    true = np.sort(odds[np.arange(n), labels])
    rank = int(np.floor((n + 1) * (1 - level) + 1e-9))
    expected = np.quantile(true, (rank - 1) / (n - 1), method="nearest") if rank else 0.0
    assert Conformal.of(odds, labels, "test").threshold(level) == pytest.approx(expected, abs=1e-7)


def test_too_few_images_promise_nothing_but_everything():
    odds, labels = drawn(10)
    assert Conformal.of(odds, labels, "test").sets(odds, 0.95).all()


def test_no_set_is_empty_and_higher_levels_hold_more():
    odds, labels = drawn(500)
    found = Conformal.of(odds, labels, "test")
    small, large = found.sets(odds, 0.9), found.sets(odds, 0.99)
    assert small.any(1).all() and (small <= large).all() and large.sum() > small.sum()


@pytest.mark.parametrize("level", [0, 1, -0.5, 95])
def test_a_level_is_a_share(level):
    odds, labels = drawn(50)
    with pytest.raises(ValueError, match="no share"):
        Conformal.of(odds, labels, "test").threshold(level)


def test_what_is_kept_is_enough_and_no_more():
    odds, labels = drawn(60_000)
    found = Conformal.of(odds, labels, "test")
    assert len(found.lowest) == MOST and len(json.dumps(found.as_facts())) < 80_000
    assert Conformal.read(json.loads(json.dumps(found.as_facts()))) == found
    found.threshold(0.95)
    with pytest.raises(ValueError, match="too low"):
        found.threshold(0.5)


@pytest.mark.parametrize(
    "facts",
    [
        None, 3, [], {}, {"n": 2, "lowest": [0.1], "source": "x"},
        {"n": 1, "lowest": [1.5], "source": "x"}, {"n": 2, "lowest": [0.5, 0.1], "source": "x"},
        {"n": 1, "lowest": [float("nan")], "source": "x"}, {"n": 0, "lowest": [], "source": "x"},
        {"n": 1, "lowest": "0", "source": "x"},
    ],
)  # fmt: skip
def test_thresholds_from_a_file_are_read_with_suspicion(facts):
    if facts == {"n": 1, "lowest": "0", "source": "x"}:
        assert Conformal.read(facts).lowest == (0.0,)  # one digit is a number
        return
    with pytest.raises(ValueError, match="no thresholds"):
        Conformal.read(facts)


@pytest.fixture
def probe(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jobs.run(make(
        data=str(tiny_folder), weights="tf_efficientnet_lite0", size=32, val=0.25, threads=1,
        out=str(tmp_path / "runs"), name="job",
    ))  # fmt: skip
    return tmp_path / "runs" / "job"


def test_sets_come_with_predictions_and_figures(probe, tiny_folder, tmp_path, capsys):
    out = tmp_path / "said.csv"
    typed = ["predict", str(probe), str(tiny_folder), "--sets", "0.9", "--format", "csv"]
    assert cli.main([*typed, "--out", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["class1"] in row["set"].split(";") for row in rows)
    assert cli.main([*typed[:-1], "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["set"][0] == rows[0]["class1"]
    assert cli.main(["predict", str(probe), str(tiny_folder / "square 0"), "--sets", "0.9"]) == 0
    assert "may be" in capsys.readouterr().out
    assert cli.main(["evaluate", str(probe), str(tiny_folder), "--sets", "0.9"]) == 0
    assert "asked for 0.9; " in capsys.readouterr().out
    assert cli.main(["evaluate", str(probe), str(tiny_folder), "--sets", "0.9", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["coverage"]) >= {"asked", "covered", "size"}


def test_a_probe_s_sets_are_of_images_that_it_did_not_learn(probe):
    header = load(probe).header["conformal"]
    assert (header["source"], header["n"]) == ("cross-validation", 72)


def test_sets_that_cannot_be_made_are_refused(probe, tiny_folder, capsys):
    model = load(probe)
    model.header = {k: v for k, v in model.header.items() if k != "conformal"}
    with pytest.raises(UsageError, match="earlier polyak"):
        model.predict(str(tiny_folder), 0.9)
    for more, told in ((["--sets", "95"], "write 0.95"), (["--sets", "0.9", "--views", "flip"],
                                                          "--sets with --views")):  # fmt: skip
        assert cli.main(["predict", str(probe), str(tiny_folder), *more]) == 64
        assert told in capsys.readouterr().err


def test_a_trained_network_s_sets_are_of_test_where_there_is_one(job, tmp_path):
    jobs.run(job(epochs=1))
    source = load(tmp_path / "runs/job").header["conformal"]["source"]
    assert source in ("val", "test")
