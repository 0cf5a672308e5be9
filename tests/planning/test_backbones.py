"""Several backbones: which are probed with how much time, how they are joined, what is written."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import jobs
from polyak import load
from polyak.errors import UsageError
from polyak.networks import pretrained
from polyak.planning.backbones import Joined, Probed, join
from polyak.recipe import make
from polyak.targets import SINGLE_LABEL
from polyak.transfer import Probe

LITE = [one.model for one in pretrained.registry()]
LABELS = np.arange(200) % 2


def probed(model, right, size=160, sure=0.9, seed=0):
    """A backbone whose probe is right on a share of the images, drawn by a seed."""
    draw = np.random.default_rng(seed).permutation(200)
    true = np.where(draw < right * 200, sure, 1 - sure)
    odds = np.where(LABELS[:, None] == [0, 1], true[:, None], 1 - true[:, None])
    logs = np.log(odds).astype(np.float32)
    probe = Probe(np.zeros((2, 1)), np.zeros(2), 0.1, None, logs)
    results = SimpleNamespace(
        probes={"linear": probe},
        train=SimpleNamespace(labels=LABELS, dataset=SimpleNamespace(kind=SINGLE_LABEL)),
    )
    resolved = SimpleNamespace(resolved=SimpleNamespace(model=model))
    network = SimpleNamespace(preprocessing=SimpleNamespace(size=(size, size)))
    backbone = SimpleNamespace(session=resolved, network=network)
    return Probed(backbone, results, "linear", 0.01)


def test_backbones_that_err_on_other_images_are_joined():
    found = [probed("a", 0.9, seed=1), probed("b", 0.88, seed=2), probed("c", 0.88, seed=3)]
    joined = join(found)
    assert {one.model for one in joined.members} == {"a", "b", "c"}
    assert joined.members[0].model == "a" and joined.nll < 0.8 * found[0].score[1]
    assert joined.measured.n == 200


def test_one_that_adds_nothing_costs_no_pass():
    best = probed("a", 0.9, seed=1)
    joined = join([best, probed("b", 0.5, seed=2), probed("twin", 0.9, seed=1)])
    assert [one.model for one in joined.members] == ["a"]
    assert joined.nll == pytest.approx(best.score[1])


def test_only_networks_of_one_size_are_joined():
    found = [probed("a", 0.9, 224, seed=1), probed("b", 0.9, 160, seed=2)]
    assert len(join(found).members) == 1
    found.append(probed("c", 0.88, 224, seed=3))
    assert [one.model for one in join(found).members] == ["a", "c"]


def test_the_mean_is_of_calibrated_answers():
    """One that is right 180 times of 200 and says 99 % is cooled to 90 % before it counts."""
    loud, other = probed("loud", 0.9, sure=0.99, seed=1), probed("other", 0.9, seed=2)
    joined = Joined((loud, other), np.zeros((0, 2)))
    mean = np.exp(joined.mean([loud.probe.log_probs, other.probe.log_probs]))
    both = (loud.probe.log_probs.argmax(1) == LABELS) & (other.probe.log_probs.argmax(1) == LABELS)
    assert mean[both].max(1) == pytest.approx(0.9, abs=0.01)


@pytest.fixture
def photos(tiny_folder, tmp_path, monkeypatch):
    """Make a recipe that joins two networks at 32 pixels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def recipe(**more):
        fixed = {"size": 32, "val": 0.25, "threads": 1, "out": str(tmp_path / "runs")}
        named = {"backbones": LITE[1:2], "name": "job"}
        return make(data=str(tiny_folder), **(fixed | named | more))

    return recipe


def test_joined_probes_are_one_model_that_predicts_what_the_run_did(photos, tmp_path):
    end = jobs.run(photos())
    run = tmp_path / "runs" / "job"
    model = load(run)
    assert [one.spec["name"] for one in model.members] == LITE[:2]
    assert model.weights == [1.0, 1.0] and end["chosen"] == f"{LITE[0]} + {LITE[1]}"
    table = (run / "predictions/val.csv").read_text().splitlines()[1:]
    from polyak.data import find, scan
    from polyak.data.images import Images

    data = scan(find(photos().data))
    rows = {path: number for number, path in enumerate(data.paths)}
    images = Images.open(data, budget=0)
    odds, _ = model.probabilities(images)
    for line in table:
        path, _, predicted, probability = line.rsplit(",", 3)
        row = odds[rows[path]]
        assert model.classes[row.argmax()] == predicted
        assert row.max() == pytest.approx(float(probability), abs=2e-6)
    about = json.loads((run / "env.json").read_text())
    assert about["weights"]["licence"] == about["more_weights"][0]["licence"] == "apache-2.0"
    page = (run / "report.html").read_text()
    assert page.count("licence apache-2.0") == 2


def test_a_joined_run_that_is_resumed_is_the_same(photos, tmp_path):
    list(jobs.train(photos(seed=3)))
    file = tmp_path / "runs/job/model.safetensors"
    before = file.read_bytes()
    file.unlink()
    journal = tmp_path / "runs/job/metrics.jsonl"
    lines = [line for line in journal.read_text().splitlines() if '"end"' not in line]
    journal.write_text("\n".join(lines) + "\n")
    list(jobs.train(photos(seed=3), resume=True))
    assert file.read_bytes() == before


def test_joined_probes_become_one_onnx_file(photos, tmp_path, capsys):
    from polyak import cli

    list(jobs.train(photos()))
    run = str(tmp_path / "runs/job")
    assert cli.main(["export", run, "--to", "onnx"]) == 0
    assert "the same class on 64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"backbones": ["resnet18"]}, "no package here carries its weights"),
        ({"weights": None}, "leave --weights none away"),
    ],
)
def test_backbones_that_cannot_be_had_are_refused(photos, choices, told):
    with pytest.raises(UsageError, match=told):
        list(jobs.train(photos(**choices)))


def test_tuned_weights_may_predict_with_the_probes_of_others(photos):
    end = jobs.run(photos(transfer="few", epochs=1))
    passes = {row["name"]: row["passes"] for row in end["table"] if row["views"] == "one"}
    assert passes["with its probe"] == 2
    assert passes["with all probes"] == 3


def test_a_budget_probes_networks_and_writes_them_down(photos, tmp_path):
    records = list(jobs.train(photos(backbones=None, size=None, budget="40s")))
    run = tmp_path / "runs/job"
    plan = json.loads((run / "plan.json").read_text())
    assert {one["model"] for one in plan["backbones"]} <= set(LITE) and plan["backbones"]
    assert plan["joined"]["members"][0]["model"] in LITE or plan["chosen"] not in ("linear",)
    page = (run / "report.html").read_text()
    assert "Backbones, cheapest first" in page
    start = next(record for record in records if record["kind"] == "start")
    assert "probed" in start["decided"]["model"][1]
    config = (run / "config.yaml").read_text()
    assert f"weights: {start['decided']['weights'][0]}" in config
