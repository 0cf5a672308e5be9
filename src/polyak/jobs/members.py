"""Independent members: N runs within one run, on one split, that become one model file."""

import copy
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from polyak import model
from polyak.files import write_atomic
from polyak.jobs.command import Command
from polyak.jobs.open import open_data
from polyak.jobs.record import write_report
from polyak.jobs.train import train
from polyak.optim import keep_shared, refresh_batch_norm
from polyak.recipe import recipe as recipes
from polyak.recipe.machine import set_up
from polyak.recipe.recipe import Recipe, asked
from polyak.recipe.resolve import resolve
from polyak.rundir import directory
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event, MemberEvent, StepEvent
from polyak.selection.candidates import Ballot, Candidate, State, ensembles, soups
from polyak.selection.election import elect
from polyak.training.distributed import Process
from polyak.training.network import Network
from polyak.training.pace import Clock
from polyak.training.session import Session
from polyak.training.validation import BATCH_NORM_EPOCH, BATCH_NORM_IMAGES, copied

TRAINING = 0.95  # of a budget; the rest joins and measures


def train_members(command: Command) -> Iterator[Event]:
    """Train members one after another, or one a process under torchrun, and join them."""
    recipe, process, run = command.recipe, command.process, None
    if process.leads:
        run = RunDirectory(command.path) if command.path else _create(command)
    folder = Path(process.text_from_leader(str(run.path) if run else "")) / "members"
    try:
        mine = range(process.rank, recipe.independent, process.size)
        turns = -(-recipe.independent // process.size)
        for turn, number in enumerate(mine):
            if not directory.finished(folder / str(number)):
                for event in train(_member(command, number, folder, turns)):
                    yield _of_the_whole(event, number, turn, turns)
        process.highest([0.0])  # until everybody is done
        if run is not None:
            folders = [folder / str(number) for number in range(recipe.independent)]
            end = replace(
                finish(command, run, folders),
                seconds=round(Clock(None, command.began).elapsed(), 2),
            )
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


class Members(Ballot):
    """Finished classifiers, and soups of those that are of one architecture.

    Args:
        parts: the data by split.
        classifiers: by name.
        threads: of decoding and rendering.
        pictures: training batches for batch-norm statistics.
    """

    def __init__(self, parts, classifiers: dict[str, model.Classifier], threads: int, pictures):
        super().__init__(parts)
        self.classifiers, self.threads, self.pictures = classifiers, threads, pictures
        self.first = next(iter(classifiers.values()))
        self.states = {n: copied(one.members[0].network) for n, one in classifiers.items()}
        self.members = list(self.states.values())

    def say(self, name: str, split: str, views: str) -> np.ndarray:
        """Log-probabilities (N, K) by one member or soup; NaN where a picture failed."""
        images = self.parts[split].images
        return self.of(name).log_probabilities(images, views=views, threads=self.threads)[0][0]

    def of(self, name: str) -> model.Classifier:
        """The classifier of a name; a soup becomes one when it is asked for."""
        if name in self.classifiers:
            return self.classifiers[name]
        network = copy.deepcopy(self.first.members[0].network)
        network.load_state_dict(self.states[name])
        first = self.first
        return model.Classifier(network, first.spec, first.classes, first.preprocessing)

    def refreshed(self, state: State) -> State:
        """Estimate the batch-norm statistics of averaged weights."""
        network = copy.deepcopy(self.first.members[0].network)
        network.load_state_dict(state)
        keep_shared(network, self.members)
        refresh_batch_norm(network.eval(), self.pictures())
        return copied(network)


def finish(command: Command, run: RunDirectory, folders: list[Path]) -> EndEvent:
    """Join members into the run's model file; choose, measure, tell."""
    recipe, processes = command.recipe, command.process.local_size
    machine = set_up(recipe, processes)
    data = open_data(recipe, machine, processes)
    dataset, parts = data.dataset, data.parts
    dataset.write_quarantine(run.path / "quarantine.csv")
    dataset.write_split(run.path / "split.csv")
    write_atomic(run.path / "classes.json", json.dumps(list(dataset.classes), indent=1))
    loaded = {f"member {n}": model.load(folder) for n, folder in enumerate(folders)}
    resolved = resolve(recipes.make(**directory.config(folders[0])), dataset)
    first = loaded["member 0"]
    session = Session(resolved, machine, Process(), data, Clock(None, command.began), command.stop)
    network = Network(first.members[0].network, first.spec, first.preprocessing)
    views = resolved.views

    def pictures():
        loader = session.loader(network)
        batches = max(1, BATCH_NORM_IMAGES // loader.batch_size)
        return (batch.images for batch in islice(loader.epoch(BATCH_NORM_EPOCH), batches))

    said = {n: model.Classifier.of(one.handed(), dataset.classes) for n, one in loaded.items()}
    ballot = Members(parts, said, machine.threads.loader, pictures)
    names = list(said)
    share = 1 / len(names)
    best = max(names, key=lambda name: ballot.score((name,))[1])
    found = [Candidate("best member", "members", (best,), ballot.score((best,)), share)]
    alike = {json.dumps([one.spec, one.preprocessing]) for one in loaded.values()}
    if len(alike) == 1:
        found += soups(ballot, names)
    else:
        found.append(Candidate("soup", "soup", (), refused="members are of different shapes"))
    found += ensembles(ballot, names, "members")
    best, fields = elect(run, dataset, ballot, found, views, every=True)
    header = {"members": [one.header for one in loaded.values()]}
    header |= {name: fields[name] for name in ("evaluation", "table")}
    save(run, ballot, best, fields["temperature"], views, header)
    return EndEvent(**fields, seconds=0.0, images_per_second=0.0, wait_share=0.0)


def save(
    run: RunDirectory,
    ballot: Members,
    best: Candidate,
    temperature: float,
    views: str,
    header: dict,
) -> None:
    """Write all members into one model file; those that were not chosen weigh nothing."""
    names = [name for name in ballot.states if name.startswith("member ")]
    chosen = best.states if best.kind == "members" else tuple(names)
    members = [
        replace(ballot.classifiers[name].members[0], weight=float(chosen.count(name)), views=None)
        for name in names
    ]
    classes = ballot.first.classes
    whole = model.Classifier.of(members, classes, temperature, views, header)
    if best.kind == "members":
        model.save(run.model, {}, whole, "members")
        return
    whole.temperature = ballot.temperature(tuple(names), views)
    soup = ballot.of(best.states[0])
    soup.temperature, soup.views, soup.header = temperature, views, header
    model.save(run.model, {"soup": soup.network.state_dict()}, soup, "soup", whole)
