"""A checkpoint whose hash is right, and which still is not of this run, is refused in one line."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jobs import results, run, steps
from polyak.errors import RefusedError
from polyak.recipe import make
from polyak.rundir import checkpoints as checkpoint
from polyak.rundir import resume

STEPS, LAST = 7, 6  # taken, and saved: the run is left before its end


@pytest.fixture(scope="module")
def begun(tiny_folder, tmp_path_factory):
    """Runs that were left in the middle, by optimizer, and one that was never left."""
    out, made = tmp_path_factory.mktemp("runs"), {}

    def left(name="nesterov", **choices) -> dict:
        """Name a run by its optimizer, or otherwise."""
        recipe = {
            "data": str(tiny_folder), "model": "compact", "widths": (8, 8), "epochs": 4,
            "batch_size": 16, "size": 16, "threads": 1, "save_every": 0, "average": (0.2, 0.0),
            "val": 0.25, "optimizer": name, "out": str(out), "name": name, **choices,
        }  # fmt: skip
        if recipe["name"] not in made:
            steps(make(**recipe), STEPS)
            made[recipe["name"]] = recipe
        return recipe

    return left


@pytest.fixture
def edited(begun, tmp_path):
    """Copy a run that was left, change the state of its checkpoints, seal them again: a recipe."""

    def edit(change, name="nesterov", **choices):
        recipe = begun(name, **choices)
        shutil.copytree(Path(recipe["out"]) / recipe["name"], tmp_path / recipe["name"])
        folder = tmp_path / recipe["name"] / "checkpoints"
        for path in checkpoint.found(folder):
            state = checkpoint.load(path)
            path.unlink()
            change(state)
            step = int(path.stem.removeprefix("step-"))
            checkpoint.save(folder, step, state, resume.identity(folder.parent))
        return make(**recipe | {"out": str(tmp_path)})

    return edit


CYCLES = {"name": "cycles", "optimizer": "sgd", "ensemble": "snapshots", "schedule": "sgdr",
          "cycles": 4}  # fmt: skip


def put(*places, value):
    """Put a value at a place of the state; the last name may be new."""

    def change(state):
        for place in places[:-1]:
            state = state[place]
        state[places[-1]] = value(state[places[-1]]) if callable(value) else value

    return change


def drop(*places):
    def change(state):
        for place in places[:-1]:
            state = state[place]
        del state[places[-1]]

    return change


def all_count(steps: float):
    def change(state):
        for kept in state["learner"]["optimizer"]["state"].values():
            kept["step"] = torch.tensor(steps)

    return change


HEAD = ("learner", "network", "head.weight")
GROUP = ("learner", "optimizer", "param_groups", 0)
FIRST = ("learner", "optimizer", "state", 0)
CASES = {
    "step-negative": put("step", value=-1),
    "step-beyond": put("step", value=10**6),
    "step-huge": put("step", value=10**400),
    "step-float": put("step", value=7.5),
    "step-bool": put("step", value=True),
    "step-another": put("step", value=lambda step: step - 1),
    "step-missing": drop("step"),
    "pace-slower": put("pace", 0, value=1e-9),
    "pace-zero": put("pace", 0, value=0.0),
    "pace-of-texts": put("pace", value=["a", 0, 0.0]),
    "first-pace": put("first_pace", 0, value=1 / 24),
    "loss-nan": put("loss", 0, value=float("nan")),
    "loss-count": put("loss", 1, value=10**9),
    "spent-images": put("spent", 4, value=-5),
    "journal-ten-terabytes": put("journal", value=10**13),
    "journal-negative": put("journal", value=-1),
    "network-missing": drop(*HEAD),
    "network-extra": put("learner", "network", "more", value=torch.ones(1)),
    "network-one-row": put(*HEAD, value=lambda w: w[:1]),
    "network-transposed": put(*HEAD, value=lambda w: w.T),
    "network-double": put(*HEAD, value=lambda w: w.double()),
    "network-whole-numbers": put(*HEAD, value=lambda w: w.long()),
    "network-no-tensor": put(*HEAD, value=3.0),
    "network-list": put("learner", "network", value=[]),
    "average-count": put("learner", "averages", 0, "count", value=3),
    "average-of-one-row": put("learner", "averages", 0, "x_test", "head.weight",
                              value=lambda w: w[:1]),
    "average-decay": put("learner", "averages", 0, "settings", "decay", value=0.999),
    "average-gone": put("learner", "averages", value=[]),
    "group-weight-decay": put(*GROUP, "weight_decay", value=0.5),
    "group-momentum": put(*GROUP, "momentum", value=0.1),
    "group-maximize": put(*GROUP, "maximize", value=True),
    "group-other-parameters": put(*GROUP, "params", value=lambda places: places[::-1]),
    "group-gone": put("learner", "optimizer", "param_groups", value=lambda groups: groups[:1]),
    "group-new-option": put(*GROUP, "nonsense", value=1),
    "group-rate-of-text": put(*GROUP, "lr", value="fast"),
    "velocity-of-one-row": put(*FIRST, "velocity", value=lambda v: v[:1]),
    "velocity-double": put(*FIRST, "velocity", value=lambda v: v.double()),
    "state-of-nobody": put("learner", "optimizer", "state", 99, value={}),
    "state-gone": put("learner", "optimizer", "state", value={}),
    "state-of-another-rule": put(*FIRST, "exp_avg", value=lambda _: torch.zeros(1)),
    "judge-done-all": put("judge", "done", value=4),
    "judge-done-none": put("judge", "done", value=0),
    "judge-score": put("judge", "best_score", value=1e300),
    "judge-best": put("judge", "best", value={}),
    "judge-stale": put("judge", "stale", value=1),
    "snapshots-of-a-run-without": put("judge", "snapshots", "ended", value=1),
    "clock-infinite": put("clock", "spent", value=float("inf")),
    "clock-of-texts": put("clock", "step_seconds", value=["1"]),
    "clock-extra": put("clock", "budget", value=1e9),
    "more-fields": put("surprise", value=1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_contradicts_the_run_is_refused(edited, tmp_path, case, recwarn):
    def change(state):
        if case == "state-of-another-rule":
            state["learner"]["optimizer"]["state"][0]["exp_avg"] = None
        CASES[case](state)

    recipe = edited(change)
    folder = tmp_path / "nesterov"
    before = {path: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    with pytest.raises(RefusedError) as refused:
        run(recipe, resume=True)
    assert refused.value.exit_code == 76 and refused.value.kept
    assert {path: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 10**8
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("adamw", all_count(2.0)),
        ("adamw", all_count(float(LAST + 1))),
        ("adamw", put(*FIRST, "step", value=torch.tensor(6.5))),
        ("adamw", put(*FIRST, "step", value=torch.tensor(-1.0))),
        ("adamw", put(*FIRST, "exp_avg_sq", value=lambda v: v[:1])),
        ("adamw", put(*GROUP, "betas", value=[0.5, 0.999])),
        ("adamw", put(*GROUP, "betas", value=[0.9])),
        ("nadam", put(*FIRST, "mu_product", value=torch.zeros(3))),
    ],
)
def test_a_rule_that_counts_has_counted_with_the_run(edited, name, change):
    with pytest.raises(RefusedError):
        run(edited(change, name), resume=True)


FALLEN = {"name": "fallen", "optimizer": "adamw", "ensemble": "branches", "epochs": 3}


@pytest.mark.parametrize(
    "change",
    [
        put("trunk", "lost", value=3),
        put("trunk", "lost", value=-1),
        put("trunk", "until", value=2.0),
        put("trunk", "kept", value=[]),
        put("trunk", "kept", value=lambda kept: None if kept else [{}]),
        put("trunk", "more", value=1),
        drop("trunk"),
    ],
)
def test_a_trunk_is_this_run_s(edited, change):
    with pytest.raises(RefusedError):
        run(edited(change, **FALLEN), resume=True)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rmsprop", "nadam", "lion", "muon"])
def test_what_every_rule_saves_is_taken(edited, begun, name):
    """Saved again without a change, under a new hash: the same bytes as a run never left."""
    resumed = edited(lambda state: None, name)
    run(resumed, resume=True)
    whole = begun(name) | {"name": f"{name}-whole"}
    run(make(**whole))
    assert results(Path(resumed.out) / name) == results(Path(whole["out"]) / whole["name"])


@pytest.mark.parametrize(
    "change",
    [
        put("file", value="../../snapshot-1.safetensors"),
        put("file", value="/etc/passwd"),
        put("file", value="snapshot-3.safetensors"),
        put("sha256", value="0"),
        put("share", value=0.3),
        None,
    ],
)
def test_snapshots_are_this_runs(edited, change):
    def first(state):
        entries = state["judge"]["snapshots"]["entries"]
        change(entries[0]) if change else entries.clear()

    with pytest.raises(RefusedError):
        run(edited(first, **CYCLES), resume=True)


def test_a_snapshot_of_another_network_is_refused(edited, tmp_path):
    """Its hash is right in the checkpoint too."""

    def change(state):
        file = tmp_path / "cycles/checkpoints/snapshot-1.safetensors"
        save_file({"head.weight": torch.zeros(2, 3)}, file)
        state["judge"]["snapshots"]["entries"][0]["sha256"] = checkpoint.digest(file)

    with pytest.raises(RefusedError, match="snapshot"):
        run(edited(change, **CYCLES), resume=True)


def test_a_checkpoint_of_another_run_is_refused(begun, tmp_path):
    """Of the same network: only the run's own mark tells them apart."""
    for name, choices in (("one", {}), ("two", {"seed": 5})):
        recipe = begun(name, optimizer="sgd", **choices)
        shutil.copytree(Path(recipe["out"]) / name, tmp_path / name)
    shutil.rmtree(tmp_path / "one/checkpoints")
    shutil.copytree(tmp_path / "two/checkpoints", tmp_path / "one/checkpoints")
    with pytest.raises(RefusedError, match="another run"):
        run(make(**begun("one", optimizer="sgd") | {"out": str(tmp_path)}), resume=True)
    assert len(checkpoint.found(tmp_path / "one/checkpoints")) == 2


def test_a_recipe_that_was_changed_is_refused_and_one_that_was_not_is_taken(begun, tmp_path):
    recipe = begun("sgd")
    shutil.copytree(Path(recipe["out"]) / "sgd", tmp_path / "sgd")
    page = tmp_path / "sgd/config.yaml"
    text = page.read_text()
    page.write_text(text.replace("label_smoothing: 0.2", "label_smoothing: 0.1"))
    assert page.read_text() != text
    again = make(**recipe | {"out": str(tmp_path)})
    with pytest.raises(RefusedError, match=r"config\.yaml was changed"):
        run(again, resume=True)
    page.write_text(text.replace("save_every: 0.0", "save_every: 30.0"))
    assert run(again, resume=True)["kind"] == "end"


def test_metrics_that_were_cut_are_told_and_metrics_that_are_gone_are_not_needed(begun, tmp_path):
    recipe = begun("sgd")
    shutil.copytree(Path(recipe["out"]) / "sgd", tmp_path / "sgd")
    metrics, again = tmp_path / "sgd/metrics.jsonl", make(**recipe | {"out": str(tmp_path)})
    metrics.write_bytes(metrics.read_bytes().splitlines(True)[0])
    with pytest.raises(RefusedError, match=r"metrics\.jsonl"):
        run(again, resume=True)
    metrics.unlink()
    assert run(again, resume=True)["kind"] == "end"


def test_what_diverged_does_not_take_the_place_of_what_is_sound(begun, tmp_path):
    from polyak.errors import DivergedError

    recipe = begun("sgd")
    shutil.copytree(Path(recipe["out"]) / "sgd", tmp_path / "sgd")
    folder = tmp_path / "sgd/checkpoints"
    before = checkpoint.found(folder)
    state = copy.deepcopy(checkpoint.load(before[0]))
    state["learner"]["network"]["head.weight"][0, 0] = float("inf")
    with pytest.raises(DivergedError, match=r"head\.weight is not finite"):
        checkpoint.save(folder, LAST + 1, state)
    assert checkpoint.found(folder) == before
    assert json.loads((folder / "manifest.json").read_text())[-1]["step"] == LAST
