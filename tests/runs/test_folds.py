"""Folds: every image predicted by a model that did not see it; one model of all; exact resume."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from scipy import stats

from jobs import results, run, steps, train
from polyak import load
from polyak.data.images import Images
from polyak.errors import RefusedError, UsageError
from polyak.jobs.command import Command
from polyak.jobs.open import open_session
from polyak.metrics import over_folds
from polyak.networks import build
from polyak.recipe import make
from polyak.recipe.written import read

THREE = {"folds": 3, "epochs": 2, "precision": "float32"}
NAME = "mobilenetv3_small_050"


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_each_image_is_predicted_by_the_model_that_did_not_see_it(job, tmp_path):
    end = run(job(**THREE))
    whole = tmp_path / "runs/job"
    table = rows(whole / "predictions/oof.csv")
    assert len(table) == len({row["path"] for row in table}) == 96
    odds = load_file(whole / "predictions/oof.safetensors")["probabilities"]
    for number in range(3):
        folder = whole / "folds" / str(number)
        splits = {row["path"]: row["split"] for row in rows(folder / "split.csv")}
        own = [i for i, row in enumerate(table) if row["fold"] == str(number)]
        assert {table[i]["path"] for i in own} == {k for k, v in splits.items() if v == "val"}
        model = load(folder)
        session = open_session(Command.alone(make(**read(folder / "config.yaml"))))
        found, _ = model.probabilities(Images.open(session.data.parts["val"].dataset, 1))
        np.testing.assert_allclose(odds[own], found, atol=1e-5)
    right = np.mean([row["label"] == row["predicted"] for row in table])
    assert end["evaluation"]["split"] == "oof" and end["evaluation"]["n"] == 96
    assert end["evaluation"]["accuracy"]["value"] == pytest.approx(right)
    each = [row["accuracy"] for row in end["folds"]["each"]]
    assert np.mean(each) == pytest.approx(end["folds"]["accuracy"]["value"])
    assert {row["split"] for row in rows(whole / "split.csv")} == {"train"}


def test_the_ensemble_is_the_mean_of_the_models_of_the_folds(job, tmp_path, tiny_folder):
    run(job(**THREE))
    whole = load(tmp_path / "runs/job")
    folds = [load(tmp_path / f"runs/job/folds/{number}") for number in range(3)]
    files = sorted(tiny_folder.rglob("*.jpg"))[::7]
    mean = np.mean([one.predict(files).probabilities for one in folds], 0)
    np.testing.assert_allclose(whole.predict(files).probabilities, mean, atol=1e-5)
    assert whole.header["folds"]["passes"] == 3
    assert whole.header["conformal"]["n"] == 96


def test_a_refit_learns_from_all_images(job, tmp_path):
    end = run(job(final="refit", **THREE))
    assert end["folds"]["final"] == "refit"
    splits = {row["split"] for row in rows(tmp_path / "runs/job/folds/3/split.csv")}
    assert splits == {"train"}
    last, whole = load(tmp_path / "runs/job/folds/3"), load(tmp_path / "runs/job")
    for one, two in zip(
        last.network.state_dict().values(), whole.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
    assert last.temperature == 1 != whole.temperature


def test_a_refit_ends_as_most_folds_did(job, tmp_path, monkeypatch):
    monkeypatch.setattr("polyak.jobs.folds.preferred", lambda folders: "weights")
    run(job(final="refit", **THREE))
    last = [*rows_of(tmp_path / "runs/job/folds/3/metrics.jsonl")][-1]
    assert last["chosen"] == "weights"
    monkeypatch.undo()
    run(job(name="usual", final="refit", **THREE))
    ends = [
        [*rows_of(tmp_path / f"runs/usual/folds/{k}/metrics.jsonl")][-1]["chosen"] for k in range(4)
    ]
    assert ends[3] == max(ends[:3], key=ends[:3].count)


def rows_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("number", [2, 9])
def test_left_and_resumed_is_never_left(job, tmp_path, number):
    run(job(name="whole", final="refit", **THREE))
    steps(job(final="refit", **THREE), number)
    assert [r["kind"] for r in train(job(final="refit", **THREE), resume=True)][-1] == "end"
    assert results(tmp_path / "runs/whole") == results(tmp_path / "runs/job")


def test_one_fold_alone_is_that_fold(job, tmp_path):
    """What another machine trains with --fold 1 is fold 1, to the bit."""
    run(job(**THREE))
    run(job(name="alone", fold=1, **THREE))
    member, alone = (tmp_path / f"runs/{n}/model.safetensors" for n in ("job/folds/1", "alone"))
    a, b = load_file(member), load_file(alone)
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.fixture
def from_weights(job, tmp_path, monkeypatch):
    """A recipe that starts from the weights of a small network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    file = tmp_path / f"{NAME}.safetensors"
    save_file(build(NAME, 7).state_dict(), file)
    own = {"weights": str(file), "model": "auto", "widths": None, "epochs": None, "size": 32}
    return lambda **more: job(**(own | more))


TUNED = {"folds": 3, "final": "soup", "transfer": "few", "epochs": 1, "precision": "float32"}


def test_a_soup_is_the_mean_of_their_weights(from_weights, tmp_path):
    end = run(from_weights(**TUNED))
    folders = [tmp_path / f"runs/job/folds/{number}" for number in range(3)]
    assert end["folds"] | {"final": "soup", "passes": 1} == end["folds"], end["cautions"]
    soup, parts = load(tmp_path / "runs/job"), [load(folder) for folder in folders]
    assert len(soup.members) == 1
    trained = [dict(one.members[0].network.named_parameters()) for one in parts]
    for name, value in soup.network.named_parameters():
        mean = torch.stack([one[name] for one in trained]).mean(0)
        torch.testing.assert_close(value, mean)
    last = list(trained[0])[-2]
    assert not torch.equal(trained[0][last], trained[1][last])
    logs = np.mean([np.log(one.temperature) for one in parts])
    assert np.log(soup.temperature) == pytest.approx(logs)


def test_weights_of_several_basins_make_no_soup(from_weights, monkeypatch):
    monkeypatch.setattr("polyak.model.soups.basin", lambda *_: "a wall on validation")
    end = run(from_weights(**TUNED))
    assert end["folds"]["final"] == "ensemble" and end["folds"]["passes"] >= 3
    [line] = [line for line in end["cautions"] if "no soup" in line]
    assert "a wall on the images that they were trained on; the models are joined" in line


def test_from_scratch_each_fold_sees_its_own_colours(job):
    """Mean and deviation are of the images to train on: such networks make no soup."""
    end = run(job(final="soup", **THREE))
    assert any("another preprocessing" in line for line in end["cautions"])


def test_a_probe_needs_one_pass(from_weights, tmp_path):
    end = run(from_weights(folds=4))
    table = rows(tmp_path / "runs/job/predictions/oof.csv")
    assert len({row["path"] for row in table}) == 96
    assert {row["fold"] for row in table} == set("0123")
    assert end["folds"]["final"] == "refit" and end["folds"]["passes"] == 1
    assert not (tmp_path / "runs/job/folds").exists()
    right = np.mean([row["label"] == row["predicted"] for row in table])
    assert end["evaluation"]["accuracy"]["value"] == pytest.approx(right)
    other = run(from_weights(folds=3, name="other"))
    assert len(other["folds"]["each"]) == 3


def test_what_a_probe_said_is_of_scikit_learns_solution(from_weights, tmp_path):
    """Each fold's images, predicted by logistic regression that was fitted on the other folds."""
    from sklearn.linear_model import LogisticRegression

    from polyak.planning.probes import Backbone, fit_probes
    from polyak.transfer.logistic import Rotation

    run(from_weights(folds=4, transfer="linear"))
    table = rows(tmp_path / "runs/job/predictions/oof.csv")
    session = open_session(Command.alone(from_weights(folds=4, transfer="linear")))
    work = fit_probes(Backbone(session, session.network()), ("linear",))
    while True:
        try:
            next(work)
        except StopIteration as end:
            results = end.value
            break
    columns, probe = torch.tensor(results.columns("linear")), results.probes["linear"]
    x = Rotation.of(columns, list(results.features.widths.values())[-1:])(columns).numpy()
    fold = np.array([int(row["fold"]) for row in table])
    learn, held = fold != 2, fold == 2
    machine = LogisticRegression(C=1 / (probe.l2 * learn.sum()), tol=1e-8, max_iter=5000)
    machine.fit(x[learn], results.train.labels[learn])
    np.testing.assert_allclose(
        np.exp(probe.log_probs[held]), machine.predict_proba(x[held]), atol=0.04
    )


def test_students_interval_is_scipys():
    values = [0.91, 0.95, 0.88, 0.97, 0.93]
    found = over_folds(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert over_folds([0.5]).low == over_folds([0.5]).high == 0.5
    with pytest.raises(ValueError, match="no fold"):
        over_folds([])


@pytest.mark.parametrize(("choices", "line"), [
    ({"fold": 1}, "--fold goes with --folds. Next: --folds 5"),
    ({"final": "soup"}, "--final goes with --folds"),
    ({"folds": 3, "fold": 3}, "no such fold: --fold 3: 3 folds are counted from 0 to 2"),
    ({"folds": 3, "ensemble": "independent:2"}, "not both"),
    ({"folds": 1}, "folds"),
    ({"kfold": 5}, "did you mean --folds?"),
])  # fmt: skip
def test_choices_that_make_no_sense_are_refused(choices, line):
    with pytest.raises(UsageError) as found:
        make(data="digits", **choices)
    assert line in str(found.value)


def test_a_probe_is_not_joined(from_weights):
    with pytest.raises(UsageError, match="--final soup: a probe is fitted on all images"):
        run(from_weights(folds=3, final="soup"))


def test_predictions_that_are_not_of_the_fold_are_refused(job, tmp_path):
    steps(job(**THREE), 20)
    with pytest.raises(RefusedError, match="not of its images"):
        list(swapped(job, tmp_path))


def swapped(job, tmp_path):
    """Resume a run in which two folds' predictions have changed places."""
    for event in train(job(**THREE), resume=True):
        yield event
        if event["kind"] == "member" and event["member"] == 2:
            one, two = (tmp_path / f"runs/job/folds/{n}/predictions" for n in (0, 1))
            one.rename(tmp_path / "aside")
            two.rename(one)
            (tmp_path / "aside").rename(two)


def test_the_page_shows_the_folds(job, tmp_path):
    end = run(job(**THREE))
    page = (tmp_path / "runs/job/report.html").read_text()
    assert "Every image was predicted by a model that did not see it." in page
    assert f"{end['folds']['each'][1]['accuracy']:.2%}" in page
    assert json.loads((tmp_path / "runs/job/metrics.jsonl").read_text())["kind"] == "end"
