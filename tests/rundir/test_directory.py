import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from polyak.errors import BusyError, DiskError, UsageError
from polyak.rundir import directory as runs
from polyak.rundir import records as journal
from polyak.rundir import resume
from polyak.rundir.events import EndEvent, NoteEvent, ValidationEvent

FILES = {"config.yaml": "data: x\n", "env.json": json.dumps({"asked": {"data": "x", "seed": 1}})}


def create(out, name=None, files=FILES):
    return runs.create(str(out), name, "data", files)


def test_a_run_stands_whole_or_not_at_all(tmp_path):
    with pytest.raises(TypeError):
        create(tmp_path, files=FILES | {"broken": 3})
    assert list(tmp_path.iterdir()) == []
    run = create(tmp_path)
    assert sorted(p.name for p in run.path.iterdir()) == [
        "checkpoints", "config.yaml", "env.json", "predictions", "run.lock",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [run.path]


def test_many_at_once_get_a_directory_each(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = {run.path for run in pool.map(lambda _: create(tmp_path), range(24))}
    assert len(paths) == 24


@pytest.mark.parametrize("name", ["../out", "a/b", "고양이", "x" * 300, "...", "con\x1b[2J"])
def test_any_name_stays_inside(tmp_path, name):
    run = create(tmp_path / "runs", name)
    assert run.path.parent == tmp_path / "runs"
    assert "\x1b" not in run.path.name


def test_a_taken_name_is_refused_and_the_run_untouched(tmp_path):
    run = create(tmp_path, "mine")
    with pytest.raises(BusyError, match="this run exists"):
        create(tmp_path, "mine", FILES | {"config.yaml": "data: other\n"})
    assert (run.path / "config.yaml").read_text() == "data: x\n"


def test_a_lock_is_given_back(tmp_path):
    run = create(tmp_path)
    with pytest.raises(BusyError, match=f"process {os.getpid()}"):
        runs.RunDirectory(run.path)
    run.close()
    runs.RunDirectory(run.path).close()


def test_what_a_killed_process_was_writing_is_swept_up(tmp_path):
    owner = create(tmp_path)
    left = [owner.path / ".model.safetensors.1.tmp", owner.path / "predictions/.val.csv.1.tmp"]
    whole = owner.path / "predictions/val.csv"
    for file in (*left, whole):
        file.write_text("x")
    with pytest.raises(BusyError):  # while somebody owns the directory, nothing is touched
        runs.RunDirectory(owner.path)
    assert all(file.exists() for file in left)
    owner.close()
    runs.RunDirectory(owner.path).close()
    assert not any(file.exists() for file in left)
    assert whole.exists()


def test_metrics_are_rewound_to_what_a_checkpoint_knew(tmp_path):
    run = create(tmp_path)
    run.append(ValidationEvent(1, 0.5, 0.5, 0.1, 2.0, val_accuracy=0.5))
    length = run.journal_length()
    run.append(ValidationEvent(2, 1.0, 1.0, 0.0, 1.5, val_accuracy=0.75))
    head = "step,epoch,progress,learning_rate,train_loss,val_accuracy,"
    table = run.path / "metrics.csv"
    first, *rows = table.read_text().splitlines()
    assert first.startswith(head) and [row[:4] for row in rows] == ["1,0.", "2,1."]
    run.rewind(length)
    assert [r["step"] for r in journal.records(run.path)] == [1]
    assert table.read_text().splitlines() == [first, rows[0]]


def test_a_line_cut_by_a_crash_is_left_out(tmp_path):
    run = create(tmp_path)
    run.append(NoteEvent("hello"))
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "valid')
    assert journal.records(run.path) == [{"kind": "note", "line": "hello"}]


def test_a_log_line_is_one_line(tmp_path):
    run = create(tmp_path)
    run.log("cat\n\x1b[2J")
    assert (run.path / "log.txt").read_text() == "cat\\n\\x1b[2J\n"


def test_find_takes_the_newest_unfinished(tmp_path):
    first, second, third = (create(tmp_path) for _ in range(3))
    for age, run in enumerate((third, second, first)):
        os.utime(run.path / "config.yaml", (1e9 - age, 1e9 - age))
    assert resume.find(str(tmp_path), None, {}) == third.path
    third.append(EndEvent("best", None, [], 1.0, 0, "m", 1.0, 0.0, 0.0, {}))
    assert resume.find(str(tmp_path), None, {}) == second.path
    assert resume.find(str(tmp_path), None, {"data": "x", "seed": 1}) == third.path
    assert resume.find(str(tmp_path), None, {"data": "y", "seed": 1}) is None
    assert resume.find(str(tmp_path), "data", {"data": "x", "seed": 1}) == first.path
    with pytest.raises(UsageError, match="seed: 1 then, 2 now"):
        resume.find(str(tmp_path), "data", {"data": "x", "seed": 2})
    assert resume.find(str(tmp_path / "none"), None, {}) is None


def test_a_vanished_directory_is_a_disk_error(tmp_path):
    run = create(tmp_path)
    run.path.rename(tmp_path / "moved")
    with pytest.raises(DiskError):
        run.log("still here?")
