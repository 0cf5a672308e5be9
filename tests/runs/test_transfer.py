"""Runs that start from weights: probes that end as ordinary model files, and fine-tuning."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import jobs
from jobs import train
from polyak import cli, load, metrics, transfer
from polyak.data import Images, find, scan
from polyak.errors import RefusedError, UsageError
from polyak.jobs.probe import calibrated
from polyak.networks import Staged, backbone_of, build
from polyak.planning import probes as probing
from polyak.planning.probes import ProbePredictions
from polyak.recipe import make
from polyak.recipe.resolve import ends_as_probe
from polyak.rundir.records import records
from polyak.transfer.memory import FrozenFeatureCache

NAME = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, named by its network."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / f"{NAME}.safetensors"
    save_file(build(NAME, 7).state_dict(), file)
    return str(file)


@pytest.fixture
def job(tiny_folder, tmp_path, weights, monkeypatch):
    """Recipe of a run from those weights; its features are remembered in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def recipe(**choices):
        return make(**{
            "data": str(tiny_folder), "weights": weights, "size": 32, "threads": 1, "val": 0.25,
            "precision": "float32",
            "out": str(tmp_path / "runs"), "name": "job", **choices,
        })  # fmt: skip

    return recipe


@pytest.mark.parametrize("strategy", ["linear", "stages"])
def test_the_model_file_predicts_what_the_probe_says(job, tmp_path, strategy):
    end = jobs.run(job(transfer=strategy))
    model = load(tmp_path / "runs" / "job")
    assert isinstance(model.network, Staged) == (strategy == "stages")
    data = scan(find(job().data))
    images = Images.open(data, budget=0)
    # the probe by hand: features of the same network, the recipe's own split
    said = transfer.extract(model.network, images, model.preprocessing, data.digests)
    probabilities, failed = model.probabilities(images)
    head = model.network.get_classifier() if strategy == "linear" else model.network.head
    logits = said.of(["head"]) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    expected = torch.from_numpy(logits / model.temperature).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert failed == [] and end["evaluation"]["accuracy"]["value"] > 0.8
    assert end["chosen"] == strategy


def test_two_held_out_images_do_not_calibrate_alone():
    sure = np.log(np.array([[0.9, 0.1]] * 200, np.float32))  # and right nine times of ten
    labels = np.array([0] * 180 + [1] * 20)
    wrong = ProbePredictions(sure[:2], np.array([1, 1]), np.arange(2), [])
    assert metrics.fit_temperature(wrong.log_probs, wrong.labels) > 1.5
    assert calibrated(sure, labels, wrong) == pytest.approx(1, abs=0.1)
    assert calibrated(sure, labels, None) == pytest.approx(1, abs=0.01)
    none = np.zeros((0, 2), np.float32)  # no class had two images
    assert calibrated(none, labels[:0], None) == 1


def test_predictions_of_the_run_are_the_model_files(job, tmp_path):
    jobs.run(job(transfer="stages"))
    table = (tmp_path / "runs/job/predictions/val.csv").read_text().splitlines()[1:]
    model = load(tmp_path / "runs" / "job")
    root = scan(find(job().data)).root
    for line in table[:6]:
        path, _, predicted, probability = line.split(",")
        (best,) = model.predict(root / path).top()
        assert best[0][0] == predicted and abs(best[0][1] - float(probability)) < 1e-5


def test_the_same_again_is_the_same_and_needs_no_pass(job, tmp_path, monkeypatch):
    jobs.run(job(transfer="linear"))
    first = jobs.results(tmp_path / "runs" / "job")
    shutil.rmtree(tmp_path / "runs")
    monkeypatch.setattr("polyak.transfer.solutions.probe", None)  # nor is anything solved again
    again = list(train(job(transfer="linear")))
    assert jobs.results(tmp_path / "runs" / "job") == first
    assert not [record for record in again if record["kind"] == "features"]


def test_auto_takes_the_better_probe_and_says_why(job):
    records = list(train(job()))
    start = next(record for record in records if record["kind"] == "start")
    chosen, why = start["decided"]["transfer"]
    assert chosen == records[-1]["chosen"] and "NLL" in why
    nll = {name: one["nll"] for name, one in records[-1]["candidates"].items()}
    assert nll[chosen] == min(nll.values())


def test_resume_begins_and_then_repeats_the_end(job, tmp_path):
    first = jobs.run(job(transfer="linear"), resume=True)
    assert jobs.run(job(transfer="linear"), resume=True) == first
    # killed before its end: all that is left to do is done again
    whole = jobs.results(tmp_path / "runs" / "job")
    (tmp_path / "runs/job/metrics.jsonl").unlink()
    (tmp_path / "runs/job/model.safetensors").unlink()
    jobs.run(job(transfer="linear"), resume=True)
    assert jobs.results(tmp_path / "runs" / "job") == whole


def test_views_are_averaged_as_the_model_file_averages_them(job, tmp_path):
    jobs.run(job(transfer="linear", views="flip"))
    said = (tmp_path / "runs/job/predictions/val.csv").read_text().splitlines()[1].split(",")
    model = load(tmp_path / "runs" / "job")
    (best,) = model.predict(scan(find(job().data)).root / said[0]).top()
    assert model.views == "flip" and abs(best[0][1] - float(said[3])) < 1e-5


def test_images_that_turn_out_broken_are_left_out_and_named(job, tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "data")
    broken = tmp_path / "data" / "square 1" / "3.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    end = jobs.run(job(data=str(tmp_path / "data"), transfer="linear"))
    listed = (tmp_path / "runs/job/quarantine.csv").read_text()
    assert end["left_out"] == 1 and "3.jpg" in listed


def test_without_weights_there_is_nothing_to_transfer(job):
    with pytest.raises(UsageError, match="weights"):
        jobs.run(job(weights=None, transfer="linear"))


def test_the_file_says_how_it_came_to_be(job, tmp_path):
    jobs.run(job(transfer="linear"))
    header = load(tmp_path / "runs" / "job").header
    assert header["recipe"]["transfer"] == "linear" and header["steps"] == 0
    assert 0 < header["probe"]["accuracy"] <= 1 and header["probe"]["l2"] > 0
    assert json.dumps(header).count(str(tmp_path)) <= 1  # the weights' file alone


def few(job, **choices):
    return job(**{"transfer": "few", "epochs": 2, "batch_size": 16, "save_every": 0, **choices})


@pytest.mark.parametrize("strategy", ["few", "many", "all"])
@pytest.mark.parametrize("better", ["linear", "stages"])
def test_tuning_starts_from_the_better_probe(job, tmp_path, monkeypatch, better, strategy):
    measured = probing.cross_validated
    nll = iter([0.1, 0.2] if better == "linear" else [0.2, 0.1])
    monkeypatch.setattr(
        probing, "cross_validated", lambda found: measured(found) | {"nll": next(nll)}
    )
    # a rate that moves nothing
    tuned = jobs.run(few(job, transfer=strategy, learning_rate=1e-12, views="one"))
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jobs.run(job(transfer=better, name="probe"))
    assert set(tuned["candidates"]) >= {"weights"}
    probe, same = load(tmp_path / "runs/probe"), load(tmp_path / "runs/job", kind="weights")
    assert isinstance(same.network, Staged) == (better == "stages")
    before, after = probe.network.state_dict(), same.network.state_dict()
    for name in before:  # the statistics that the probe has read too
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)


def test_few_leaves_the_first_stages_as_they_were(job, tmp_path, weights):
    end = jobs.run(few(job, learning_rate=1e-4))
    tuned = backbone_of(load(tmp_path / "runs/job", kind="weights").network)
    source = load_file(weights)
    assert torch.equal(tuned.conv_stem.weight, source["conv_stem.weight"])
    assert torch.equal(tuned.bn1.running_mean, source["bn1.running_mean"])
    assert not torch.equal(tuned.conv_head.weight, source["conv_head.weight"])
    assert end["evaluation"]["accuracy"]["value"] > 0.8


def parameters(run, kind=None):
    return list(load(run, kind=kind).network.parameters())


def probed(job, tmp_path, tuned):
    """Run the probe that a tuned network began with; its parameters."""
    staged = isinstance(load(tuned).network, Staged)
    jobs.run(job(name="probe", transfer="stages" if staged else "linear"))
    return parameters(tmp_path / "runs/probe")


def test_halfway_lies_between_the_probe_and_the_end(job, tmp_path):
    end = jobs.run(few(job, learning_rate=1e-3, average=0, label_smoothing=0))
    rows = {row["name"]: row for row in end["table"]}
    assert {"probe", "halfway", "weights"} <= set(rows)
    run = tmp_path / "runs/job"
    began = probed(job, tmp_path, run)
    ended, halfway = parameters(run, "weights"), parameters(run, "soup")
    way = torch.stack([(a - b).norm() for a, b in zip(began, ended, strict=True)])
    half = torch.stack([(a - b).norm() for a, b in zip(began, halfway, strict=True)])
    assert way.max() > 1e-3
    torch.testing.assert_close(half, way / 2, rtol=1e-3, atol=1e-6)


def test_fine_tuning_that_ruins_a_network_ends_as_the_probe(job, tmp_path):
    end = jobs.run(few(job, learning_rate=1.0, average=0, views="one"))
    assert end["chosen"] == "probe" and end["evaluation"]["accuracy"]["value"] > 0.8
    assert end["candidates"]["weights"]["accuracy"] < 0.6
    run = tmp_path / "runs/job"
    for one, other in zip(parameters(run), probed(job, tmp_path, run), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


TUNED = [{}, {"transfer": "all", "l2_sp": 1.0, "unfreeze": 0.5}, {"augment": "none"}]


@pytest.mark.parametrize("choices", TUNED)
def test_tuning_resumes_to_the_same_bytes(job, tmp_path, choices):
    jobs.run(few(job, **choices, name="whole"))
    jobs.steps(few(job, **choices, name="cut"), 4)
    jobs.run(few(job, **choices, name="cut"), resume=True)
    assert jobs.results(tmp_path / "runs/cut") == jobs.results(tmp_path / "runs/whole")


def test_what_sleeps_runs_once_where_nothing_is_random(job, tmp_path, monkeypatch):
    looked = []
    called = FrozenFeatureCache.__call__

    def look(self, images, indices):
        if indices[0] >= 0:  # an image of somebody's
            looked.append(bool(self.tables) and self.filled[indices].all())
        return called(self, images, indices)

    monkeypatch.setattr(FrozenFeatureCache, "__call__", look)
    jobs.run(few(job, augment="none", epochs=4, name="once"))
    assert looked and all(looked)
    looked.clear()
    jobs.run(few(job, augment="flip()", epochs=1, name="random"))
    assert looked and not any(looked)
    monkeypatch.setattr(FrozenFeatureCache, "of", lambda *_: None)
    jobs.run(few(job, augment="none", epochs=4, name="always"))
    once, always = (load(tmp_path / "runs" / name, kind="weights") for name in ("once", "always"))
    for one, other in zip(once.network.parameters(), always.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_an_earlier_run_is_a_source_and_its_head_is_known_by_name(job, tiny_folder, tmp_path):
    jobs.run(job(transfer="linear", name="first"))
    # the same images, their classes in another order, and one that is new
    for number, name in enumerate(["z", "b", "new", "a"]):
        shutil.copytree(tiny_folder / f"square {number}", tmp_path / "data" / name)
    shutil.copytree(tiny_folder / "square 1", tmp_path / "data" / "square 1")
    first = load(tmp_path / "runs/first")
    how = {"data": str(tmp_path / "data"), "weights": str(tmp_path / "runs/first"), "size": None}
    jobs.run(job(**how, transfer="none", epochs=1, learning_rate=1e-12, average=0, name="second"))
    second = load(tmp_path / "runs/second")
    assert second.preprocessing == first.preprocessing
    assert second.spec["name"] == NAME
    before, after = (m.network.get_classifier().weight for m in (first, second))
    now = second.classes.index("square 1")
    torch.testing.assert_close(after[now], before[1], rtol=0, atol=1e-6)
    assert after[second.classes.index("new")].abs().max() < 1e-6
    stems = [model.network.conv_stem.weight for model in (second, first)]
    torch.testing.assert_close(*stems, rtol=0, atol=1e-6)


def test_a_run_of_stages_and_a_folder_that_is_no_run(job, tmp_path):
    jobs.run(job(transfer="stages", name="first"))
    end = jobs.run(job(weights=str(tmp_path / "runs/first"), transfer="linear", name="second"))
    assert end["evaluation"]["accuracy"]["value"] > 0.8
    with pytest.raises(RefusedError):
        jobs.run(job(weights=str(tmp_path), transfer="linear", name="third"))


def test_compact_is_a_backbone_too(job, tmp_path):
    how = {"weights": None, "model": "compact", "widths": (8, 8), "size": 16}
    jobs.run(job(**how, epochs=4, batch_size=16, name="first"))
    source = {"weights": str(tmp_path / "runs/first"), "size": None}
    for name in ("linear", "stages", "few"):
        end = jobs.run(job(**source, transfer=name, name=name, batch_size=16))
        assert end["evaluation"]["accuracy"]["value"] > 0.5, name


@pytest.fixture
def small(job, tmp_path, tiny_folder):
    """A finished run of compact, of widths that nobody would choose, and its folder."""
    how = {"model": "compact", "widths": (12, 20), "size": 16, "epochs": 1, "batch_size": 16}
    jobs.run(job(weights=None, name="small", **how))
    return tmp_path / "runs/small"


@pytest.mark.parametrize("choices", [{"transfer": "linear"}, {"transfer": "none", "epochs": 1}])
def test_widths_are_those_of_the_weights(job, small, tmp_path, choices):
    records = list(train(job(weights=str(small), size=None, batch_size=16, **choices)))
    start = next(record for record in records if record["kind"] == "start")
    assert start["decided"]["widths"] == ["(12, 20)", "those of small"]
    assert "widths:\n- 12\n- 20\n" in (tmp_path / "runs/job/config.yaml").read_text()
    found = load(tmp_path / "runs/job")
    assert found.header["recipe"]["widths"] == [12, 20] == list(backbone_of(found.network).widths)


def test_a_budget_does_not_change_the_widths_of_weights(job, small, tmp_path):
    jobs.steps(job(weights=str(small), size=None, transfer="none", budget="20s"), 2)
    assert "widths:\n- 12\n- 20\n" in (tmp_path / "runs/job/config.yaml").read_text()


def test_other_widths_than_the_weights_have_are_a_wrong_use(job, small):
    with pytest.raises(UsageError, match=r"--widths 8 8: .*small has 12 20"):
        jobs.run(job(weights=str(small), widths=(8, 8), transfer="linear"))


def test_a_plain_file_of_compact_tells_its_widths_and_keeps_its_first_layer(job, small, tmp_path):
    state = load(small).network.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "mine.safetensors")
    mine = {"weights": str(tmp_path / "mine.safetensors"), "model": "compact", "size": None}
    jobs.run(job(**mine, transfer="linear"))
    found = load(tmp_path / "runs/job")
    assert found.header["recipe"]["widths"] == [12, 20]
    assert torch.equal(found.network.backbone.whitening, state["whitening"])


def test_weights_whose_features_overflow_are_refused_in_one_line(job, weights, tmp_path, capsys):
    state = load_file(weights)
    for name in ("conv_stem.weight", "conv_head.weight"):
        state[name] = state[name] * 1e30
    file = tmp_path / f"{NAME}.safetensors"
    save_file(state, file)
    command = ["train", job().data, "--weights", str(file), "--size", "32", "--threads", "1",
               "--out", str(tmp_path / "runs")]  # fmt: skip
    assert cli.main(command) == 76
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "not finite" in line
    assert not list((tmp_path / "runs").iterdir())


def test_features_that_are_too_large_to_be_squared_are_refused(job, weights, tmp_path):
    """Each is finite; their squares, which a probe sums, are not."""
    state = load_file(weights)
    state["conv_head.bias"] = torch.full_like(state["conv_head.bias"], 1e25)
    file = tmp_path / f"{NAME}.safetensors"
    save_file(state, file)
    with pytest.raises(RefusedError, match="not finite"):
        jobs.run(job(weights=str(file), transfer="linear"))


@pytest.mark.parametrize("inside", [".", "polyak", "polyak/features-1"])
def test_a_cache_that_cannot_be_written_costs_a_line(job, tmp_path, monkeypatch, inside):
    jobs.run(job(transfer="linear", name="whole"))
    where = tmp_path / "other" / inside
    where.parent.mkdir(parents=True, exist_ok=True)
    where.rmdir() if where.is_dir() else None
    where.write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    records = list(train(job(transfer="linear")))
    notes = [record["line"] for record in records if record["kind"] == "note"]
    kept = [line for line in notes if "nothing can be kept" in line]
    assert len(kept) == 1 and "features-1" in kept[0]
    assert jobs.results(tmp_path / "runs/job") == jobs.results(tmp_path / "runs/whole")


@pytest.mark.parametrize("choices", [{"epochs": 1}, {"epochs": 2, "ensemble": "snapshots"}])
def test_training_from_weights_starts_from_their_probe(job, tmp_path, choices):
    """Not from a head of zeros, which would throw away what the first pass has learned."""
    end = jobs.run(job(**choices, learning_rate=1e-9, batch_size=16, average=0, cycles=None))
    start = next(r for r in records(tmp_path / "runs/job") if r["kind"] == "start")
    assert start["decided"]["transfer"][0] == "all"
    assert "asks for training" in start["decided"]["transfer"][1]
    assert end["evaluation"]["accuracy"]["value"] > 0.8  # at this rate zeros stay at a quarter


def test_a_probe_says_what_has_no_effect_and_lists_only_what_acts(job, tmp_path):
    jobs.run(job(transfer="linear", mix="cutmix", optimizer="lion", batch_size=16))
    start = next(r for r in records(tmp_path / "runs/job") if r["kind"] == "start")
    [line] = [line for line in start["warnings"] if "no effect" in line]
    assert line.startswith(
        "a probe trains nothing: --optimizer, --mix, --batch-size have no effect"
    )
    shown = set(start["decided"])
    assert {"model", "views"} <= shown
    assert not shown & {"optimizer", "schedule", "augment", "epochs", "learning_rate", "rho"}


def test_a_plain_probe_has_nothing_to_say(job, tmp_path):
    jobs.run(job(transfer="linear"))
    start = next(r for r in records(tmp_path / "runs/job") if r["kind"] == "start")
    assert not [line for line in start["warnings"] if "no effect" in line]


def test_fine_tuning_honours_the_precision_that_is_asked_for(job):
    """Features are of float32, and steps of what is asked; a probe alone has no use for it."""
    for choices, want in (
        ({"transfer": "few", "epochs": 1}, "bfloat16"),
        ({"epochs": 1}, "bfloat16"),
        ({"budget": "10m"}, "bfloat16"),
        ({}, "auto"),
        ({"transfer": "stages"}, "auto"),
    ):
        recipe = job(precision="bfloat16", **choices)
        assert ends_as_probe(recipe) == (want == "auto"), choices
