"""The learning rate on the page is the schedule's, and its marks stand where training stood."""

import json
import re

import numpy as np
import pytest

from jobs import train
from polyak.errors import RefusedError
from polyak.recipe import make
from polyak.report import report
from polyak.report.course import rates, snapshots
from polyak.report.gather import gather
from written import run_directory


def written(folder, choices, seen=((0.5, 1), (1.0, 2))):
    """A run directory with some choices, and a validation at each (progress, epoch)."""
    run_directory(folder, ["a", "b", "c"])
    config = json.loads((folder / "config.yaml").read_text()) | choices
    (folder / "config.yaml").write_text(json.dumps(config))
    rows = [{"kind": "start"}]
    for progress, epoch in seen:
        rows.append(
            {"kind": "validation", "progress": progress, "epoch": epoch, "step": 1,
             "learning_rate": 0.1, "val_loss": 1.0, "val_accuracy": 0.5, "train_loss": 1.0}
        )  # fmt: skip
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return gather(folder)


def at(found, epoch):
    """The rate drawn at an epoch."""
    return float(np.interp(epoch, *found))


def test_between_two_validations_the_rate_does_what_the_schedule_does(tmp_path):
    choices = {"schedule": "sgdr", "cycles": 2, "learning_rate": 0.2, "cycle_peak": 0.5}
    found = rates(written(tmp_path / "run", choices, [(0.5, 2), (1.0, 4)]))
    assert found[0][[0, -1]].tolist() == [0, 4]
    assert at(found, 0) == 0.2
    assert at(found, 1) == pytest.approx(0.1, abs=1e-3)
    assert at(found, 1.98) < 1e-3  # the end of a cycle
    assert at(found, 2.02) == pytest.approx(0.1, abs=1e-3)  # and the next one's peak
    assert at(found, 4) == 0


def test_a_ramp_is_drawn_before_the_first_validation(tmp_path):
    choices = {"schedule": "constant", "warm_up": 0.25, "learning_rate": 1.0}
    found = rates(written(tmp_path / "run", choices, [(1.0, 8)]))
    assert at(found, 1) == pytest.approx(0.5, abs=2e-3)
    assert at(found, 5) == 1.0


def test_a_clock_that_bends_the_pace_bends_the_curve_and_moves_the_marks(tmp_path):
    choices = {"schedule": "sgdr", "cycles": 2, "learning_rate": 1.0, "ensemble": "snapshots"}
    facts = written(tmp_path / "run", choices, [(0.25, 1), (0.5, 3), (1.0, 4)])
    assert snapshots(facts) == [3.0, 4.0]
    assert at(rates(facts), 2.0) == pytest.approx(0.1464, abs=2e-3)  # at 3/8 of the progress


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("cyclic", [1.6, 2.8, 4.0]), ("sgdr", [0.4 + 3.6 / 7, 0.4 + 3.6 * 3 / 7, 4.0])],
)
def test_only_the_cycles_of_sgdr_grow(tmp_path, schedule, expected):
    choices = {"schedule": schedule, "cycles": 3, "cycle_growth": 2.0, "warm_up": 0.1}
    facts = written(tmp_path / "run", choices | {"ensemble": "snapshots"}, [(1.0, 4)])
    assert snapshots(facts) == pytest.approx(expected)


def test_a_snapshot_that_was_not_taken_yet_is_not_marked(tmp_path):
    choices = {"schedule": "cyclic", "cycles": 4, "ensemble": "snapshots"}
    assert snapshots(written(tmp_path / "run", choices, [(0.6, 3)])) == [1.25, 2.5]
    assert snapshots(written(tmp_path / "none", choices | {"ensemble": None}, [(0.6, 3)])) == []


def test_the_marks_of_a_real_run_stand_where_it_took_them(tiny_folder, tmp_path):
    recipe = make(
        data=str(tiny_folder), model="compact", widths=(8, 8), epochs=4, batch_size=16, size=16,
        threads=1, val=0.25, out=str(tmp_path), name="run", schedule="cyclic", cycles=3,
        cycle_growth=2, warm_up=0.1, ensemble="snapshots",
    )  # fmt: skip
    *_, _ = train(recipe)
    facts = gather(tmp_path / "run")
    marks = snapshots(facts)
    assert len(marks) == len(list((tmp_path / "run/checkpoints").glob("snapshot-*"))) == 3
    epochs = np.array([row["epoch"] for row in facts.validations])
    for mark in marks:  # a member is taken at a validation, in the first step after a cycle's end
        assert 0 <= (epochs[epochs > mark - 1e-3] - mark).min() + 1e-3 < 0.21


@pytest.mark.parametrize(
    "choices",
    [
        {"schedule": "<b>"},
        {"schedule": ["sgdr"]},
        {"schedule": "cosine", "learning_rate": None},
        {},
    ],
)
def test_a_page_that_cannot_tell_marks_what_validations_saw(tmp_path, choices):
    choices = {"learning_rate": 0.1, "ensemble": "snapshots"} | choices
    facts = written(tmp_path / "run", choices)
    assert rates(facts) is None
    assert snapshots(facts) == [] or choices["schedule"] == "cosine"
    assert longest(report(tmp_path / "run").read_text()) < 10


@pytest.mark.parametrize("row", [{}])
def test_records_without_progress_draw_no_schedule(tmp_path, row):
    folder = tmp_path / "run"
    written(folder, {"schedule": "cosine", "learning_rate": 0.1})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "validation"} | row) + "\n")
    assert rates(gather(folder)) is None


@pytest.mark.parametrize(
    "choices",
    [
        {"schedule": "sgdr", "cycles": 10**12},
        {"schedule": "sgdr", "cycles": "many"},
        {"schedule": "sgdr", "cycles": 900, "cycle_growth": 1e300},
        {"schedule": "cosine", "warm_up": 3},
    ],
)
def test_choices_that_no_run_can_have_are_refused(tmp_path, choices):
    with pytest.raises(RefusedError, match="cannot read the run"):
        written(tmp_path / "run", {"learning_rate": 0.1} | choices)


@pytest.mark.parametrize("row", [{"progress": "x", "epoch": 1}, {"progress": 1, "epoch": None}])
def test_a_validation_of_no_numbers_is_refused(tmp_path, row):
    folder = tmp_path / "run"
    written(folder, {"schedule": "cosine", "learning_rate": 0.1})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "validation"} | row) + "\n")
    with pytest.raises(RefusedError, match="records are damaged"):
        gather(folder)


def longest(page: str) -> int:
    """Count the corners of the longest line drawn on a page."""
    return max(path.count("\nL ") for path in re.findall(r'<path d="(M [^"]*)"', page))


def test_the_page_draws_it(tmp_path):
    choices = {"schedule": "sgdr", "cycles": 2, "learning_rate": 0.2}
    written(tmp_path / "run", choices)
    assert longest(report(tmp_path / "run").read_text()) > 50
