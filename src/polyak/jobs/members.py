"""Independent members: N runs within one run, on one split, that become one model file."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from torch import Tensor

from polyak import model, selection
from polyak.ensemble import copied
from polyak.files import write_atomic
from polyak.jobs.command import Command
from polyak.jobs.open import open_data, scan_data
from polyak.jobs.record import write_report
from polyak.jobs.select import account, counts
from polyak.jobs.train import train
from polyak.recipe import recipe as recipes
from polyak.recipe.machine import set_up
from polyak.recipe.recipe import Recipe, asked
from polyak.recipe.resolve import resolve
from polyak.recipe.weights import with_weights
from polyak.rundir import directory, environment, resume
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event, MemberEvent, StepEvent
from polyak.selection import Candidate, CandidatePool, Runtime, WeightKind
from polyak.selection.candidates import candidate, ensembles, soups
from polyak.training.distributed import Process
from polyak.training.network import Network
from polyak.training.pace import Clock
from polyak.training.session import Session
from polyak.training.validation import BATCH_NORM_EPOCH, BATCH_NORM_IMAGES

TRAINING = 0.95  # of a budget; the rest joins and measures


def train_members(command: Command) -> Iterator[Event]:
    """Train members one after another, or one a process under torchrun, and join them."""
    recipe, process, run = command.recipe, command.process, None
    if process.leads:
        run = RunDirectory(command.path) if command.path else _create(command)
    moved = command.path is not None and resume.moved(command.path, recipe.data)
    folder = Path(process.text_from_leader(str(run.path) if run else "")) / "members"
    try:
        mine = range(process.rank, recipe.independent, process.size)
        turns = -(-recipe.independent // process.size)
        for turn, number in enumerate(mine):
            there = folder / str(number)
            if resume.finished(there):
                directory.tidy(there, write_report)
                continue
            for event in train(_member(command, number, folder, turns)):
                yield _of_the_whole(event, number, turn, turns)
        process.highest([0.0])  # until everybody is done
        if run is not None:
            folders = [folder / str(number) for number in range(recipe.independent)]
            end = join(command, run, folders, moved)
            end = replace(end, seconds=round(Clock(None, command.began).elapsed(), 2))
            run.append(end)
            write_report(run)
            yield end
    finally:
        if run is not None:
            run.close()


def _create(command: Command) -> RunDirectory:
    """Create the run directory; what is resolved, each member's own config.yaml says."""
    recipe = command.recipe
    first = {
        "config.yaml": recipes.write(recipe, {}),
        "env.json": json.dumps({"asked": asked(command.asked)}),
    }
    return directory.create(recipe.out, recipe.name, Path(recipe.data).stem, first)


def _member(command: Command, number: int, folder: Path, turns: int) -> Command:
    """The command that trains one member, or goes on with it, in this process alone."""
    there = folder / str(number)
    return replace(
        command,
        asked=member_recipe(command.recipe, number, folder, turns),
        process=command.process.alone(),
        began=time.monotonic(),
        path=there if (there / "config.yaml").is_file() else None,
    )


def member_recipe(recipe: Recipe, number: int, folder: Path, turns: int) -> Recipe:
    """The recipe of one member: another number, its share of the budget, its own directory."""
    choices = recipe.model_dump() | {
        "ensemble": None,
        "member": recipe.member + number,
        "out": str(folder),
        "name": str(number),
    }
    if recipe.budget_seconds is not None:
        choices["budget"] = f"{recipe.budget_seconds * TRAINING / turns:.1f}s"
    return recipes.make(**choices)


def _of_the_whole(event: Event, number: int, turn: int, turns: int) -> Event:
    """A member's event as one of the whole run's."""
    if isinstance(event, StepEvent):
        return replace(event, progress=(turn + event.progress) / turns, member=number)
    if isinstance(event, EndEvent):
        return MemberEvent.from_json(event.as_json() | {"member": number})
    return replace(event, member=number)


def join(command: Command, run: RunDirectory, folders: list[Path], moved: bool) -> EndEvent:
    """Join finished members into the run's model file: chosen, measured, reported.

    Args:
        command: of the whole run.
        run: its directory.
        folders: the members' run directories.
        moved: whether the data lies elsewhere than when they were trained: it must be the same.
    """
    processes = command.process.local_size
    dataset = scan_data(command.recipe, processes)
    recipe, _ = with_weights(command.recipe, dataset)
    machine = set_up(recipe, processes)
    data = open_data(recipe, dataset, machine, processes)
    if moved:
        environment.check_unchanged(folders[0], data.dataset)
        resume.write_place(run.path, recipe.data)
    data.dataset.write_quarantine(run.path / "quarantine.csv")
    data.dataset.write_split(run.path / "split.csv")
    write_atomic(run.path / "classes.json", json.dumps(list(data.classes), indent=1))
    loaded = [model.load(folder) for folder in folders]
    resolved = resolve(resume.recipe(folders[0]), data.dataset)
    session = Session(resolved, machine, Process(), data, Clock(None, command.began), command.stop)
    pool = _pool(session, loaded)
    chosen = selection.select(pool, candidates(pool, loaded), views=resolved.views, every=True)
    chosen.write_predictions(run.predictions)
    left = account(run, data.dataset, data.lost())
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
        for member in one.handed():
            member.order(session.data.classes)  # refuses one of other classes
            pool.add(f"member {number}", copied(member.network), member)
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
