"""A logger reads along: it gets the numbers of metrics.csv, and cannot stop or change a run."""

import csv
import sys
from types import SimpleNamespace

import pytest

from jobs import results, run, steps, timeless, train
from polyak.rundir import loggers


class Heard:
    """A logger that remembers."""

    def __init__(self, run, start):
        self.run, self.start, self.rows, self.closed = run, start, [], 0
        made.append(self)

    def log(self, values, step):
        self.rows.append((step, values))

    def close(self):
        self.closed += 1


made: list[Heard] = []


class Raises:
    """A logger that fails at a call, or at each."""

    where: tuple[str, ...] = ("log", "close")

    def __init__(self, run, start):
        self._do("open")

    def log(self, values, step):
        self._do("log")

    def close(self):
        self._do("close")

    def _do(self, what):
        if what in self.where:
            raise RuntimeError(f"the {what} failed\nmore")


@pytest.fixture
def heard(monkeypatch):
    made.clear()
    monkeypatch.setitem(loggers.LOGGERS, "wandb", Heard)
    return made


def test_a_logger_gets_what_the_table_gets(job, heard, tmp_path):
    run(job(log="wandb"))
    (one,) = heard
    assert one.run == tmp_path / "runs/job" and one.closed == 1
    assert one.start.classes == 4
    with (one.run / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    validated = [(step, values) for step, values in one.rows if "val_loss" in values]
    assert [str(step) for step, _ in validated] == [row["step"] for row in table]
    for (_, values), row in zip(validated, table, strict=True):
        assert values == {name: float(row[name]) for name in row if name != "step"}
    assert [step for step, values in one.rows if set(values) == {"loss"}] == [10]
    assert set(one.rows[-1][1]) == {"val/accuracy", "val/nll", "val/ece"}


@pytest.mark.parametrize("where", [("open",), ("log",), ("close",), ("open", "log", "close")])
def test_a_logger_that_fails_changes_nothing(job, monkeypatch, tmp_path, where):
    silent = list(train(job(name="silent")))
    monkeypatch.setitem(loggers.LOGGERS, "wandb", Raises)
    monkeypatch.setattr(Raises, "where", where)
    records = list(train(job(name="loud", log="wandb")))
    notes = [record["line"] for record in records if record["kind"] == "note"]
    assert notes == [f"nothing is logged to wandb: the {where[0]} failed; training goes on"]
    assert (tmp_path / "runs/loud/log.txt").read_text().count("nothing is logged") == 1
    rest = [record for record in records if record["kind"] != "note"]
    assert repr(timeless(rest)) == repr(timeless(silent))  # by text: the first loss is nan
    assert results(tmp_path / "runs/loud") == results(tmp_path / "runs/silent")


def test_a_logger_that_works_changes_nothing(job, heard, tmp_path):
    run(job(name="silent"))
    run(job(name="loud", log="wandb"))
    assert results(tmp_path / "runs/loud") == results(tmp_path / "runs/silent")


def test_a_missing_package_is_named_and_training_goes_on(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    *records, end = train(job(log="wandb", epochs=1))
    (note,) = [record for record in records if record["kind"] == "note"]
    assert "pip install wandb" in note["line"] and end["kind"] == "end"


def test_a_resumed_run_is_read_by_whom_is_asked_for_now(job, heard, tmp_path):
    run(job(name="whole"))
    steps(job(log="wandb"), 5)
    run(job(log="wandb"), resume=True)
    first, second = heard
    assert (first.closed, second.closed, second.start.resumed) == (1, 1, True)
    assert min(step for step, _ in second.rows) >= second.start.step > 0
    assert results(tmp_path / "runs/job") == results(tmp_path / "runs/whole")
    steps(job(name="later"), 5)
    run(job(name="later", log="wandb"), resume=True)
    assert len(heard) == 3 and heard[-1].rows


def test_every_independent_member_is_a_run_of_its_own(job, heard):
    run(job(log="wandb", ensemble="independent:2", epochs=1))
    assert [one.run.name for one in heard] == ["0", "1"]


def test_tensorboard_reads_what_was_written_once(job, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    steps(job(log="tensorboard"), 5)  # killed: what it logged beyond its checkpoint comes again
    end = run(job(log="tensorboard"), resume=True)
    folder = tmp_path / "runs/job"
    events = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    with (folder / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    for name in ("val_accuracy", "train_loss", "learning_rate"):
        told = [(event.step, event.value) for event in events.Scalars(name)]
        want = [(int(row["step"]), pytest.approx(float(row[name]), rel=1e-6)) for row in table]
        assert told == want
    (last,) = events.Scalars("val/accuracy")
    assert last.value == pytest.approx(end["evaluation"]["accuracy"]["value"])


def test_wandb_gets_a_run_of_the_same_name(job, monkeypatch, tmp_path):
    calls = []

    def init(**how):
        calls.append(("init", how))
        log = lambda values, step: calls.append(("log", values, step))  # noqa: E731
        return SimpleNamespace(log=log, finish=lambda: calls.append(("finish",)))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    run(job(log="wandb"))
    (_, how), *logged, last = calls
    assert (how["project"], how["name"]) == ("polyak", "job")
    assert how["config"]["model"] == "compact" and str(tmp_path) not in str(how["config"])
    assert [call[0] for call in logged] == ["log"] * len(logged) and last == ("finish",)
    told = [call[2] for call in logged]
    assert told == sorted(told)  # it takes no step twice backwards
