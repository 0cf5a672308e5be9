"""Runs within one run: trained one after another, or one a process under torchrun, then joined."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyak.data.parts import Splits
from polyak.files import write_atomic
from polyak.jobs.command import Command
from polyak.jobs.open import open_data, scan_data
from polyak.jobs.record import write_report
from polyak.jobs.train import train
from polyak.recipe import recipe as recipes
from polyak.recipe.machine import set_up
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import resolve
from polyak.recipe.weights import with_weights
from polyak.recipe.written import asked, write
from polyak.rundir import directory, environment, resume
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event, MemberEvent, StepEvent
from polyak.training.distributed import Process
from polyak.training.pace import Clock
from polyak.training.session import Session

TRAINING = 0.95  # of a budget; the rest joins and measures
Join = Callable[[RunDirectory, list[Path], bool], EndEvent]


@dataclass(frozen=True)
class Last:
    """One more run, which begins when all others are done.

    Args:
        choices: where they differ from the whole run's.
        preferred: says of the others' directories how it ends where nothing is held out.
    """

    choices: Mapping[str, Any]
    preferred: Callable[[list[Path]], str]


def train_within(
    command: Command,
    folder: str,
    choices: Sequence[Mapping[str, Any]],
    join: Join,
    last: Last | None = None,
) -> Iterator[Event]:
    """Train runs within a run, those that are not finished yet, and join them.

    Args:
        command: of the whole run.
        folder: where they lie in it, by number.
        choices: of each, where they differ from the whole run's.
        join: makes the model file: of the run's directory, theirs, and whether the data has moved
            since they were trained.
        last: one more run, where there is one.
    """
    process, run = command.process, None
    if process.leads:
        run = RunDirectory(command.path) if command.path else _create(command)
    moved = command.path is not None and resume.moved(command.path, command.recipe.data)
    place = Path(process.text_from_leader(str(run.path) if run else "")) / folder
    try:
        turns = -(-len(choices) // process.size) + (last is not None)
        folders = [place / str(number) for number in range(len(choices))]
        for turn, number in enumerate(range(process.rank, len(choices), process.size)):
            one = _inner(command, folders[number], choices[number], turns)
            yield from _trained(one, folders[number], turn, turns)
        process.highest([0.0])  # until everybody is done
        if run is not None:
            if last is not None:
                there = place / str(len(choices))
                one = _inner(command, there, last.choices, turns)
                one = replace(one, preferred=last.preferred(folders))
                yield from _trained(one, there, turns - 1, turns)
                folders.append(there)
            end = join(run, folders, moved)
            end = replace(end, seconds=round(Clock(None, command.began).elapsed(), 2))
            run.append(end)
            write_report(run)
            yield end
    finally:
        if run is not None:
            run.close()


def _trained(one: Command, there: Path, turn: int, turns: int) -> Iterator[Event]:
    """Train one of them, unless it is finished, and tell of it as a part of the whole."""
    if resume.finished(there):
        directory.tidy(there, write_report)
        return
    of = there.parent.name[:-1], int(there.name)  # members/2
    for event in train(replace(one, began=time.monotonic())):
        yield _of_the_whole(event, of, turn, turns)


def _create(command: Command) -> RunDirectory:
    """Create the run directory; what is resolved, each run's own config.yaml says."""
    recipe = command.recipe
    first = {
        "config.yaml": write(recipe, {}),
        "env.json": json.dumps({"asked": asked(command.asked)}),
    }
    return directory.create(recipe.out, recipe.name, Path(recipe.data).stem, first)


def _inner(command: Command, there: Path, choices: Mapping[str, Any], turns: int) -> Command:
    """The command that trains one of them, or goes on with it, in this process alone."""
    return replace(
        command,
        asked=inner_recipe(command.recipe, there, choices, turns),
        process=command.process.alone(),
        path=there if (there / "config.yaml").is_file() else None,
    )


def inner_recipe(recipe: Recipe, there: Path, choices: Mapping[str, Any], turns: int) -> Recipe:
    """The recipe of one of them: its own choices, its share of the budget, its directory."""
    whole = recipe.model_dump() | {"out": str(there.parent), "name": there.name} | dict(choices)
    if recipe.budget_seconds is not None:
        whole["budget"] = f"{recipe.budget_seconds * TRAINING / turns:.1f}s"
    return recipes.make(**whole)


def _of_the_whole(event: Event, of: tuple[str, int], turn: int, turns: int) -> Event:
    """An event of one of them, which has a noun and a number, as one of the whole run's."""
    noun, number = of
    if isinstance(event, StepEvent):
        return replace(event, progress=(turn + event.progress) / turns, member=number)
    if isinstance(event, EndEvent):
        return MemberEvent.from_json(event.as_json() | {"member": number, "noun": noun})
    return replace(event, member=number)


def reopened(command: Command, run: RunDirectory, first: Path, moved: bool) -> Session:
    """Open the data again, to join on it what was trained on it, and write down what it is.

    Args:
        command: of the whole run.
        run: its directory.
        first: the first inner run: it says how choices were resolved.
        moved: whether the data lies elsewhere now: it must be the same.
    """
    processes = command.process.local_size
    dataset = scan_data(command.recipe, processes)
    recipe, _ = with_weights(command.recipe, dataset)
    machine = set_up(recipe, processes)
    data = open_data(recipe, dataset, machine, processes)
    if moved:
        environment.check_unchanged(first, data.dataset)
        resume.write_place(run.path, recipe.data)
    _write(run, data)
    resolved = resolve(resume.recipe(first), data.dataset)
    return Session(resolved, machine, Process(), data, Clock(None, command.began), command.stop)


def _write(run: RunDirectory, data: Splits) -> None:
    data.dataset.write_quarantine(run.path / "quarantine.csv")
    data.dataset.write_split(run.path / "split.csv")
    write_atomic(run.path / "classes.json", json.dumps(list(data.classes), indent=1))
