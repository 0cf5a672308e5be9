"""The plan of a transfer: everything measured, within the budget, and a command that runs."""

import json
import shlex
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from jobs import train
from polyak import cli, load
from polyak.errors import UsageError
from polyak.jobs.command import Command
from polyak.jobs.open import open_session
from polyak.jobs.plan import plan
from polyak.networks import build
from polyak.options import training
from polyak.planning.plan import Planner
from polyak.planning.probes import Backbone
from polyak.recipe import make
from polyak.training.distributed import Process
from polyak.training.signals import Stop
from polyak.transfer.ranking import Row


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    file = tmp_path / "mobilenetv3_small_050.safetensors"
    save_file(build("mobilenetv3_small_050", 7).state_dict(), file)
    return str(file)


def test_a_plan_measures_and_its_command_is_one(tiny_folder, weights, tmp_path, capsys):
    typed = ["plan", str(tiny_folder), "--weights", weights, "--budget", "25s", "--size", "32"]
    began = time.monotonic()
    out = tmp_path / "p.json"
    assert cli.main([*typed, "--val", "0.25", "--out", str(out), "--threads", "1"]) == 0
    assert time.monotonic() - began < 75
    found = json.loads(out.read_text())
    said = capsys.readouterr().out
    assert found["counts"] == {f"square {number}": 18 for number in range(4)}
    assert found["stages"][-1]["stage"] == "head" and len(found["curve"]) == 2
    assert {"linear", "stages", "few", "many", "all"} == {row["strategy"] for row in found["rows"]}
    assert found["chosen"] in {row["strategy"] for row in found["rows"]}
    assert "evidence is thin" in said and "polyak train" in said
    words = shlex.split(found["command"])
    recipe, _ = training(words[2:])
    assert (recipe.data, recipe.transfer) == (str(tiny_folder), found["chosen"])
    assert recipe.size == 32 and recipe.val == 0.25


@pytest.mark.parametrize(
    ("share", "said"), [(0.125, "its trial was 12.5% of a full run"), (1.0, "expect a little more")]
)
def test_what_is_expected_says_how_much_of_a_run_the_trial_was(tiny_folder, share, said):
    recipe = make(data=str(tiny_folder), epochs=20, batch_size=8)
    rows = {}
    for name, right in (("linear", 140), ("few", 190)):
        said_right = np.where(np.arange(200) < right, 0.8, 0.2)
        logs = np.log([said_right, 1 - said_right]).T
        rows[name] = Row.of(name, logs, np.zeros(200, int), 1.0)
    rows["few"] = replace(rows["few"], share=share)
    session = open_session(Command(recipe, Process(), Stop(), time.monotonic()))
    planner = Planner(Backbone(session, None), recipe, 0.0)
    planner.rows, planner.trials = rows, {"few": SimpleNamespace(step_seconds=1.0)}
    chosen, _, facts = planner._choose(SimpleNamespace(strategy="linear"))
    assert chosen == "few" and said in facts["notes"][-1]
    assert facts["seconds"] == 20 * (len(session.data.train) // 8)


def test_a_plan_that_took_too_long_still_chooses_a_probe(tiny_folder):
    recipe = make(data=str(tiny_folder), model="compact", widths=(4, 4), epochs=1, val=0.25, size=8)
    session = open_session(Command.alone(recipe))
    planner = Planner(Backbone(session, None), recipe, 0.0, time.monotonic() - 5)
    for name in ("linear", "few"):
        row = Row.of(name, np.log([[0.9, 0.1]] * 4), np.zeros(4, int), 1.0, share=0.1)
        planner.rows[name] = row
    planner.trials["few"] = SimpleNamespace(step_seconds=0.1)
    assert planner._choose(SimpleNamespace(strategy="few"))[0] == "linear"


def test_without_weights_there_is_nothing_to_plan(tiny_folder):
    with pytest.raises(UsageError, match="weights"):
        list(plan(make(data=str(tiny_folder), weights=None), time.monotonic()))


@pytest.mark.parametrize("rate", [None, "auto"])
def test_a_budget_without_a_strategy_is_planned_and_spent(tiny_folder, weights, tmp_path, rate):
    how = {"data": str(tiny_folder), "weights": weights, "size": 32, "val": 0.25, "threads": 1}
    recipe = make(**how, learning_rate=rate, budget="40s", out=str(tmp_path / "runs"), name="job")
    began = time.monotonic()
    records = list(train(recipe))
    assert time.monotonic() - began < 80
    start = next(record for record in records if record["kind"] == "start")
    chosen, why = start["decided"]["transfer"]
    found = json.loads((tmp_path / "runs/job/plan.json").read_text())
    assert chosen == found["chosen"] and why == f"planned: {found['why']}"
    assert {row["strategy"] for row in found["rows"]} >= {"linear", "stages", "few"}
    assert len(found["stages"]) > 2 and found["cell"]["strategy"] == found["lecture"]
    page = (tmp_path / "runs/job/report.html").read_text()
    assert "different from" in page  # the lecture's table stands on the run's page
    assert records[-1]["kind"] == "end" and load(tmp_path / "runs/job").classes
    assert list(train(recipe, resume=True))[-1]["kind"] == "end"
