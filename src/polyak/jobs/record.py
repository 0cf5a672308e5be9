"""The run directory of a command: begun or taken up, and told every event."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyak.data.dataset import Dataset
from polyak.errors import shown
from polyak.jobs.begin import Beginning
from polyak.jobs.command import Command
from polyak.recipe.written import write
from polyak.report import report
from polyak.rundir import directory, environment, log_lines, loggers, resume
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import Event, StartEvent
from polyak.training import distillation
from polyak.training.session import Session


@contextmanager
def open_run(
    command: Command, opened: Dataset, beginning: Beginning
) -> Iterator[RunDirectory | None]:
    """Take a run up, or make its directory, and write down what it works on; None off the leader.

    Args:
        command: what was asked.
        opened: the data as a resumed run will find it again: later some may turn out broken.
        beginning: what the run begins with.

    Raises:
        BusyError: another process owns it.
        DiskError: nothing can be written there.
    """
    if not command.process.leads:
        yield None
        return
    path = command.path
    run = RunDirectory(path) if path else _create(command, opened, beginning)
    try:
        if path and resume.moved(path, command.recipe.data):
            resume.write_place(run.path, command.recipe.data)
        write_data(run, beginning.session)
        if beginning.sweep is not None:
            beginning.sweep.save(run.path / "learning_rate.svg")
        yield run
    finally:
        run.close()


def write_data(run: RunDirectory, session: Session) -> None:
    """Write down which images a run works on, and which are left out."""
    session.data.dataset.write_quarantine(run.path / "quarantine.csv")
    session.data.dataset.write_split(run.path / "split.csv")


def _create(command: Command, opened: Dataset, beginning: Beginning) -> RunDirectory:
    session = beginning.session
    resolved, dataset = session.resolved, session.data.dataset
    teacher = distillation.digest_of(resolved.distill)
    first = {
        "config.yaml": write(resolved, resolved.reasons),
        "env.json": environment.describe(
            command.asked,
            opened,
            session.machine,
            session.process.size,
            teacher,
            beginning.origins,
        ),
        "classes.json": json.dumps(list(dataset.classes), indent=1),
        "log.txt": "".join(shown(line) + "\n" for line in dataset.warnings),
    }
    default = Path(resolved.data).stem
    return directory.create(resolved.out, resolved.name, default, first | beginning.files())


def recorded(run: RunDirectory | None, log: str, events: Iterator[Event]) -> Iterator[Event]:
    """Pass events on: read by the logger that was asked for, and written down."""
    # a process that does not lead has nothing to tell
    for event in loggers.logged(events, log if run else "none"):
        if run is not None and event.kept:
            run.append(event)
            for line in log_lines.lines(event):
                run.log(line)
        yield event


def start_event(
    session: Session, run: RunDirectory | None, step: int, steps: int, resumed: bool
) -> StartEvent:
    """Tell what is about to happen."""
    resolved, dataset, machine = session.resolved, session.data.dataset, session.machine
    idle = resolved.idle
    reasons = [(name, why) for name, why in resolved.reasons.items() if name not in idle]
    return StartEvent(
        run=str(run.path) if run else "",
        resumed=resumed,
        step=step,
        steps=steps,
        found=dataset.found,
        left_out=len(dataset.quarantine),
        **session.data.counts(),
        classes=len(dataset.classes),
        model=resolved.model,
        device=machine.device,
        precision=f"{machine.precision.name}: {machine.precision.reason}",
        threads=machine.threads._asdict(),
        decided={name: [_told(getattr(resolved, name)), why] for name, why in reasons},
        warnings=[*dataset.warnings, *([] if resumed else resolved.without_effect())],
        bits=dataset.bits if dataset.bits < 16 else None,
    )


def write_report(run: RunDirectory) -> None:
    """Write the page of a finished run; what it cannot show is no reason to lose the run."""
    try:
        report(run.path)
    except Exception as error:
        run.log(f"report.html was not written: {type(error).__name__}: {error}")


def _told(value: object) -> str:
    """Write a value as it would be typed."""
    return "none" if value is None else str(value)
