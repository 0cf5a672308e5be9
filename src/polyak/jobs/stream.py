"""From a recipe to the events of its run: found or begun, alone or among processes."""

import time
from collections.abc import Iterator

from polyak.errors import memory_error
from polyak.jobs.command import Command
from polyak.jobs.folds import train_folds
from polyak.jobs.members import train_members
from polyak.jobs.record import write_report
from polyak.jobs.train import train
from polyak.recipe.recipe import Recipe
from polyak.rundir.directory import tidy
from polyak.rundir.events import EndEvent, Event
from polyak.rundir.records import records
from polyak.rundir.resume import finished
from polyak.training import distributed
from polyak.training.signals import Stop


def stream(recipe: Recipe, *, resume: bool = False, began: float | None = None) -> Iterator[Event]:
    """Train by a recipe and tell of it, event by event.

    Args:
        recipe: what to do; what it leaves open is resolved from data and machine.
        resume: continue the run that these choices began; begin it where there is none.
        began: `time.monotonic()` when the command began, for the budget.

    Raises:
        PolyakError: any of them; what was done is kept, and its text says where.

    >>> import tempfile
    >>> from polyak.recipe import make
    >>> recipe = make(data="digits", epochs=1, widths=(8, 8), out=tempfile.mkdtemp())
    >>> [event.kind for event in stream(recipe)][-1]
    'end'
    """
    began = time.monotonic() if began is None else began
    try:
        with distributed.joined(recipe.device) as process, Stop() as stop:
            command = Command(recipe, process, stop, began)
            yield from _run(command.resumed() if resume else command)
    except Exception as error:
        if (memory := memory_error(error)) is error:
            raise
        raise memory from error


def _run(command: Command) -> Iterator[Event]:
    if command.path is not None and finished(command.path):
        if command.process.leads:
            tidy(command.path, write_report)
        yield EndEvent.from_json(records(command.path)[-1])
    elif command.recipe.independent:
        yield from train_members(command)
    elif command.recipe.folds and command.recipe.fold is None:
        yield from train_folds(command)
    else:
        yield from train(command)
