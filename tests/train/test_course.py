"""The course of a run: what is recorded, when it stops, what it chooses, what it leaves behind."""

import csv
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from jobs import run
from polyak import load
from polyak.train import run as runs
from polyak.train import train


def header(path) -> dict:
    with safe_open(path / "model.safetensors", "np") as file:
        return json.loads(file.metadata()["polyak"])


def test_records_tell_the_course(job, tmp_path):
    records = list(train(job()))
    assert [r["kind"] for r in records if r["kind"] != "step"] == [
        "start",
        *4 * ["validation"],
        "end",
    ]
    steps = [r for r in records if r["kind"] == "step"]
    assert [r["step"] for r in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["progress"] < 1 == records[-2]["progress"]
    start = records[0]
    assert start["found"] == start["train"] + start["val"] + start["left_out"] == 96
    rows = list(csv.DictReader((tmp_path / "runs/job/metrics.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert {"train_loss", "val_accuracy", "average_accuracy", "wait_share"} <= set(rows[0])


def test_a_run_leaves_what_the_readme_says(job, tmp_path):
    run(job())
    names = {p.name for p in (tmp_path / "runs/job").iterdir()}
    assert names >= {
        "config.yaml", "env.json", "classes.json", "quarantine.csv", "split.csv", "metrics.jsonl",
        "metrics.csv", "checkpoints", "model.safetensors", "predictions", "log.txt",
    }  # fmt: skip
    assert not list((tmp_path / "runs/job").rglob("*.tmp"))


def test_patience_ends_a_run_that_learns_nothing(job):
    records = list(train(job(patience=2, learning_rate=1e-12, average=0, epochs=50)))
    seen = [r["val_accuracy"] for r in records if r["kind"] == "validation"]
    assert len(seen) < 20  # of 20 validations that 50 epochs have
    best = max(seen)
    assert seen.index(best) == len(seen) - 3  # two without progress came after it
    assert records[-1]["candidates"]["best"]["accuracy"] == best


def test_the_choice_follows_validation(job, tmp_path):
    end = run(job(epochs=8))
    found = end["candidates"]
    assert set(found) == {"average", "weights"}
    order = sorted(found, key=lambda k: (found[k]["accuracy"], -found[k]["nll"]), reverse=True)
    assert end["chosen"] == order[0] == header(tmp_path / "runs/job")["chosen"]


def test_no_average_when_none_is_wanted(job, tmp_path):
    end = run(job(average=0))
    assert set(end["candidates"]) == {"weights"}
    names = load_file(tmp_path / "runs/job/model.safetensors")
    assert not any(name.startswith("average/") for name in names)


def test_predictions_are_the_model_s_own(job, tmp_path):
    end = run(job(epochs=6))
    folder = tmp_path / "runs/job"
    said = load_file(folder / "predictions/val.safetensors")
    rows = list(csv.DictReader((folder / "predictions/val.csv").read_text().splitlines()))
    assert len(rows) == len(said["labels"]) == end["evaluation"]["n"]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert right == pytest.approx(end["evaluation"]["accuracy"]["value"])
    again = load(folder).predict([job().data + "/" + row["path"] for row in rows])
    assert np.allclose(again.probabilities, said["probabilities"], atol=1e-6)


def test_the_header_knows_nothing_of_clock_and_place(job, tmp_path):
    run(job())
    text = json.dumps(header(tmp_path / "runs/job"))
    assert str(tmp_path / "runs") not in text
    assert "seconds" not in text


def test_every_optimizer_and_schedule_learns(job):
    for number, optimizer in enumerate(
        ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam", "lion")
    ):
        schedule = ("constant", "cosine", "sgdr", "triangular")[number % 4]
        choices = {"optimizer": optimizer, "schedule": schedule, "epochs": 12, "cycles": 2}
        records = list(train(job(name=f"{optimizer}-{schedule}", **choices)))
        losses = [r["train_loss"] for r in records if r["kind"] == "validation"]
        assert losses[-1] < losses[0], (optimizer, schedule, losses)


def test_a_log_is_what_was_said(job, tmp_path):
    run(job())
    log = (tmp_path / "runs/job/log.txt").read_text()
    assert "96 files found = 96 used + 0 left out" in log
    assert "next: polyak predict" in log
    assert runs.finished(tmp_path / "runs/job")
