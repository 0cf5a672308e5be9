"""Independent members: N runs within one run, on one split, that become one model file."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from torch import Tensor

from polyak import model, selection
from polyak.ensemble import copied
from polyak.jobs.command import Command
from polyak.jobs.select import account, counts
from polyak.jobs.within import reopened, train_within
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event
from polyak.selection import Candidate, CandidatePool, Runtime, WeightKind
from polyak.selection.candidates import candidate, ensembles, soups
from polyak.training.network import Network
from polyak.training.session import Session
from polyak.training.validation import BATCH_NORM_EPOCH, BATCH_NORM_IMAGES


def train_members(command: Command) -> Iterator[Event]:
    """Train members one after another, or one a process under torchrun, and join them."""
    recipe = command.recipe
    numbers = range(recipe.member, recipe.member + recipe.independent)
    choices = [{"ensemble": None, "member": number} for number in numbers]
    yield from train_within(command, "members", choices, partial(join, command))


def join(command: Command, run: RunDirectory, folders: list[Path], moved: bool) -> EndEvent:
    """Join finished members into the run's model file: chosen, measured, reported.

    Args:
        command: of the whole run.
        run: its directory.
        folders: the members' run directories.
        moved: whether the data lies elsewhere than when they were trained: it must be the same.
    """
    session = reopened(command, run, folders[0], moved)
    loaded = [model.load(folder) for folder in folders]
    pool = _pool(session, loaded)
    found = candidates(pool, loaded)
    resolved = session.resolved
    chosen = selection.select(pool, found, views=resolved.views, every=True, by=resolved.choose_by)
    chosen.write_predictions(run.predictions)
    left = account(run, session.data.dataset, session.data.lost())
    chosen.save(run.model, {"members": [one.header for one in loaded]})
    figures = chosen.as_json() | counts(left)
    return EndEvent(**figures, model=str(run.model), seconds=0.0)


def _pool(session: Session, loaded: list[model.Classifier]) -> CandidatePool:
    """Put the members' weights into a pool; means of them see training images of the session."""
    first = loaded[0]
    network = Network(first.members[0].network, first.spec, first.preprocessing)

    def batches() -> Iterator[Tensor]:
        loader = session.loader(network)
        count = max(1, BATCH_NORM_IMAGES // loader.batch_size)
        return (batch.images for batch in islice(loader.epoch(BATCH_NORM_EPOCH), count))

    runtime = Runtime(threads=session.machine.threads.loader)
    pool = CandidatePool(session.data.parts, batches, runtime, finished=True)
    for number, one in enumerate(loaded):
        parts = one.handed()
        for part, member in enumerate(parts):
            member.order(session.data.classes)  # refuses one of other classes
            name = f"member {number}" + (f".{part + 1}" if len(parts) > 1 else "")
            pool.add(name, copied(member.network), member)
    return pool


def candidates(pool: CandidatePool, loaded: list[model.Classifier]) -> list[Candidate]:
    """Collect the ways to join members: the best alone, soups, all of them, and those selected."""
    names = list(pool.members)
    best = min(names, key=lambda name: pool.score((name,))[1])
    kind, share = WeightKind.MEMBERS, 1 / len(names)
    found = [candidate(pool, "best member", kind, (best,), share)]
    if len({json.dumps([one.spec, one.preprocessing]) for one in loaded}) == 1:
        found += soups(pool, names)
    else:
        why = "members are of different shapes"
        found.append(Candidate("soup", WeightKind.SOUP, (), refused=why))
    return found + ensembles(pool, names, "members")
