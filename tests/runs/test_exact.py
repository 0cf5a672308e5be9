"""Training is a function of the recipe: twice, interrupted, killed, on any number of threads."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import as_before, listed, results, run, steps, timeless, train
from polyak.errors import DataError, RefusedError, Stopped, UsageError
from polyak.jobs import record
from polyak.rundir import checkpoints as checkpoint
from polyak.rundir import records as journal
from polyak.rundir import resume

KINDS = ["wait", "compute", "decode", "render"]  # of work in a step


def test_the_same_twice(job, tmp_path):
    run(job())
    run(job(out=str(tmp_path / "other")))
    first, second = tmp_path / "runs/job", tmp_path / "other/job"
    assert results(first) == results(second)
    assert len(results(first)) == 3
    assert timeless(journal.records(first)) == timeless(journal.records(second))


def test_another_seed_is_another_model(job, tmp_path):
    run(job())
    run(job(name="seed", seed=1))
    a, b = results(tmp_path / "runs/job"), results(tmp_path / "runs/seed")
    assert a["model.safetensors"] != b["model.safetensors"]


@pytest.mark.parametrize("number", [1, 3, 7, 11])
def test_left_and_resumed_is_never_left(job, tmp_path, number):
    run(job(name="whole"))
    steps(job(), number)
    run(job(), resume=True)
    whole, resumed = tmp_path / "runs/whole", tmp_path / "runs/job"
    assert results(resumed) == results(whole)
    assert timeless(journal.records(resumed)) == timeless(journal.records(whole))


def test_resume_needs_nothing_else_said(job, tmp_path):
    steps(job(), 5)
    end = run(job().model_copy(update={"data": "", "name": None}), resume=True)
    assert end["kind"] == "end"
    assert resume.finished(tmp_path / "runs/job")


def test_resume_of_a_finished_run_trains_nothing(job):
    first = run(job())
    assert [r["kind"] for r in train(job(), resume=True)] == ["end"]
    assert run(job(), resume=True) == first


def test_resume_with_nothing_there_begins(job):
    assert run(job(), resume=True)["kind"] == "end"


def test_a_budget_goes_on_with_what_is_left(job, tmp_path):
    choices = {"epochs": None, "budget": "15s"}
    steps(job(**choices), 30)
    folder = tmp_path / "runs/job/checkpoints"
    spent = checkpoint.newest(folder)[0]["clock"]["spent"]
    began = time.monotonic()
    records = train(job(**choices), resume=True)
    end = next(record for record in records if record["kind"] == "end")
    took = time.monotonic() - began  # but for the page, which is drawn afterwards
    records.close()
    # the clock went on from what was spent, and did not begin again
    assert end["seconds"] == pytest.approx(spent + took, abs=1)


def test_a_run_that_could_not_be_written_down_is_given_back(job, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record, "write_data", full)
    with pytest.raises(OSError, match="No space"):
        run(job())
    monkeypatch.undo()
    assert run(job(), resume=True)["kind"] == "end"  # its lock did not stay with this process


def test_where_the_time_went_counts_what_was_before(job, tmp_path):
    steps(job(save_every=0.0), 11)
    before = checkpoint.newest(tmp_path / "runs/job/checkpoints")[0]["spent"]
    end = run(job(), resume=True)
    assert list(end["spent"]) == KINDS
    assert all(then > 0 for then in before)
    for kind, then in zip(KINDS, before, strict=False):
        assert end["spent"][kind] >= round(then, 3)


def test_resume_refuses_other_choices(job):
    steps(job(), 2)
    with pytest.raises(UsageError, match=r"seed: None then, 7 now"):
        run(job(seed=7), resume=True)


def test_resume_refuses_other_data(job, tiny_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    steps(job(data=str(copy)), 2)
    next(copy.rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="data has changed"):
        run(job(data=str(copy)), resume=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_says_so(job, tmp_path, number):
    run(job(name="whole"))
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="Kept: all 4 steps") as stopped:
        for record in train(job(save_every=1000)):
            if record.get("step") == 4 and record["kind"] == "step":
                signal.raise_signal(number)
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    run(job(), resume=True)
    assert results(tmp_path / "runs/job") == results(tmp_path / "runs/whole")


def test_a_damaged_checkpoint_is_set_aside(job, tmp_path):
    run(job(name="whole"))
    steps(job(), 6)
    folder = tmp_path / "runs/job/checkpoints"
    newest = folder / checkpoint.manifest(folder)[-1]["file"]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    start = next(train(job(), resume=True))
    assert any("damaged" in line for line in start["warnings"])
    assert newest.with_name(newest.name + ".damaged").exists()
    run(job(), resume=True)
    assert results(tmp_path / "runs/job") == results(tmp_path / "runs/whole")


def test_only_damaged_checkpoints_are_refused(job, tmp_path):
    steps(job(), 6)
    for file in (tmp_path / "runs/job/checkpoints").glob("step-*"):
        file.write_bytes(b"pickle")
    with pytest.raises(RefusedError, match="no checkpoint can be used"):
        run(job(), resume=True)


def test_an_unreadable_manifest_costs_nothing(job, tmp_path):
    run(job(name="whole"))
    steps(job(), 6)
    folder = tmp_path / "runs/job/checkpoints"
    (folder / "manifest.json").write_text("{")
    start = next(train(job(), resume=True))
    assert start["step"] == 5 and not any("checkpoint" in line for line in start["warnings"])
    run(job(), resume=True)
    assert results(tmp_path / "runs/job") == results(tmp_path / "runs/whole")


def test_a_run_of_the_first_version_is_resumed(job, tmp_path):
    run(job(name="whole"))
    steps(job(), 6)
    as_before(tmp_path / "runs/job/checkpoints")
    run(job(), resume=True)
    assert results(tmp_path / "runs/job") == results(tmp_path / "runs/whole")


@pytest.mark.parametrize("inside", ["", "checkpoints", "predictions"])
def test_a_finished_run_is_put_in_order(job, tmp_path, inside):
    """Killed after its last record: what was being written goes, what is missing comes."""
    run(job())
    folder = tmp_path / "runs/job"
    before = listed(folder)
    (folder / "report.html").unlink()
    for name in (".polyak-x.tmp", ".polyak-y.tmp"):
        (folder / inside / name).mkdir()
    (folder / inside / ".polyak-x.tmp/half").write_text("x")
    (folder / inside / ".tmpAb3xYz").write_text("of safetensors, in the hands of polyak 0.1")
    assert [r["kind"] for r in train(job(), resume=True)] == ["end"]
    assert listed(folder) == before


KILLER = Path(__file__).with_name("killer.py")


def test_twenty_kills_leave_no_trace(tiny_folder, tmp_path):
    """20 times kill -9 at random moments of training, saving and evaluating; see killer.py."""
    command = [sys.executable, str(KILLER), str(tiny_folder), str(tmp_path), "20"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert told.returncode == 0, told.stderr[-2000:]
    assert "20 kills" in told.stdout
