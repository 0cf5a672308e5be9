"""The third stage: a network trains, from its beginning or from its last checkpoint."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from polyak.augment.views import policies
from polyak.data.loader import Loader
from polyak.ensemble import copied
from polyak.jobs.begin import Beginning
from polyak.jobs.command import Command
from polyak.jobs.record import start_event
from polyak.rundir import checkpoints, resume
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import Event
from polyak.training import resumable
from polyak.training.optimization import cycle_ends
from polyak.training.pace import Pacer
from polyak.training.snapshots import SnapshotFiles
from polyak.training.timing import first_pace
from polyak.training.training import Training
from polyak.training.validation import Validator


def prepare(command: Command, beginning: Beginning, run: RunDirectory | None) -> Training:
    """Make the training of a run, as it begins or as its last checkpoint knew it."""
    session, network = beginning.session, beginning.network
    loader = beginning.loader()
    validator = make_validator(beginning, loader, run)
    state, lines = _saved(command, network.module)
    if state and command.path and session.resolved.epochs is None:  # a clock planned it
        pacer = Pacer(resumable.first_pace(state, command.path / "checkpoints"))
    else:
        pacer = first_pace(session, network, loader, validator, beginning.teacher)
    steps = round(1 / pacer.first.rate)
    step = session.step(network, steps, loader, beginning.teacher)
    training = Training(session, step, loader, validator, pacer, run)
    training.warnings = lines
    if state and command.path:
        resumable.check(training, state, command.path / "checkpoints")
        training.load_state_dict(state)
    return training


def _saved(command: Command, module: nn.Module) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the newest checkpoint of a run that is resumed, and what is to be told of the others."""
    path = command.path
    if path is None:
        return None, []
    most = resumable.largest(module)
    return checkpoints.newest(path / "checkpoints", resume.identity(path), most)


def make_validator(beginning: Beginning, loader: Loader, run: RunDirectory | None) -> Validator:
    """Make the validation of a run; its network still is as training begins with it."""
    session = beginning.session
    resolved, ends = session.resolved, cycle_ends(session.resolved)
    times = 4 if resolved.epochs is None else min(max(1, round(resolved.epochs)), 20)
    others = len(beginning.joined.members) if beginning.joined else 0
    # the snapshots, the best of them, both soups; the probe, and halfway from it
    candidates = 1 + len(resolved.average) + (2 * len(ends) + 2 if ends else 0)
    return Validator(
        session.data.parts,
        loader,
        beginning.network.preprocessing,
        session.machine,
        times=20 if resolved.patience else times,
        patience=resolved.patience,
        views=len(policies(resolved.views)),
        check=lambda: session.stop.check("the last checkpoint"),
        candidates=candidates + 2 * resolved.tuned + others,
        start=copied(beginning.network.module) if resolved.tuned else None,
        snapshots=SnapshotFiles(
            run.checkpoints if run else None, ends, beginning.network.module.state_dict()
        ),
    )


def fit(command: Command, training: Training) -> Iterator[Event]:
    """Train to the end, and tell of it."""
    steps, resumed = round(1 / training.pacer.first.rate), command.path is not None
    start = start_event(training.session, training.run, training.done, steps, resumed)
    yield replace(start, warnings=[*start.warnings, *training.warnings])
    yield from training.events()
