"""One run, in four stages: open the data, see what to begin with, fit, select the weights."""

from collections.abc import Iterator
from itertools import chain

from polyak.jobs.begin import begin
from polyak.jobs.command import Command
from polyak.jobs.fit import fit, prepare
from polyak.jobs.open import open_session
from polyak.jobs.probe import select_probe
from polyak.jobs.record import open_run, recorded, write_report
from polyak.jobs.select import select
from polyak.rundir.events import Event


def train(command: Command) -> Iterator[Event]:
    """Train by a recipe, on every process of it, and tell of it.

    Raises:
        PolyakError: any of them; what was done is kept, and its text says where.
    """
    session = open_session(command)
    beginning = yield from begin(command, session)
    with open_run(command, session.data.dataset, beginning) as run:
        if beginning.trains:
            training = prepare(command, beginning, run)
            events = chain(fit(command, training), select(beginning, training, command.preferred))
        else:
            events = select_probe(beginning, run, resumed=command.path is not None)
        yield from recorded(run, beginning.session.resolved.log, events)
        if run is not None:
            write_report(run)
