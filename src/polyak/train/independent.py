"""Independent members: N runs within one run, on one split, that become one model file."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from polyak import model
from polyak.files import write_atomic
from polyak.optim import keep_shared, refresh_batch_norm
from polyak.train import environment, job
from polyak.train import recipe as recipes
from polyak.train import run as runs
from polyak.train.candidates import Ballot, Candidate, State, ensembles, soups
from polyak.train.distributed import World
from polyak.train.election import elect
from polyak.train.finish import account, counts
from polyak.train.judge import REFRESH_EPOCH, REFRESHED, copied
from polyak.train.pace import Clock
from polyak.train.recipe import Recipe
from polyak.train.run import Run
from polyak.train.signals import Stop

TRAINING = 0.95  # of a budget; the rest joins and measures

Conduct = Callable[[Recipe, Path | None, float, World, Stop], Iterator[dict]]


def conduct_members(
    recipe: Recipe, asked: dict, path: Path | None, began: float, world: World, stop: Stop,
    conduct: Conduct, draw: Callable[[Run], None],
) -> Iterator[dict]:  # fmt: skip
    """Train members one after another, or one a process under torchrun, and join them.

    Args:
        recipe: as asked for, or as the run that is resumed was.
        asked: the user's own words.
        path: the run to resume, or None.
        began: `time.monotonic()` when the command began.
        world: this process among all.
        stop: the signal that was noted.
        conduct: trains one member in a run directory of its own.
        draw: writes the page of the finished whole.
    """
    run = None
    if world.leads:
        run = Run(path) if path else create(recipe, asked)
    moved = path is not None and runs.moved(path, recipe.data)
    folder = Path(world.text_from_leader(str(run.path) if run else "")) / "members"
    try:
        mine = range(world.rank, recipe.independent, world.size)
        turns = -(-recipe.independent // world.size)
        for turn, number in enumerate(mine):
            there = folder / str(number)
            if runs.finished(there):
                runs.tidy(there, draw)
                continue
            found = there if (there / "config.yaml").is_file() else None
            one = member_recipe(recipe, number, folder, turns)
            for record in conduct(one, found, time.monotonic(), world.alone(), stop):
                yield told(record, number, turn, turns)
        world.highest([0.0])  # until everybody is done
        if run is not None:
            members = [folder / str(n) for n in range(recipe.independent)]
            end = finish(recipe, run, members, world, moved)
            seconds = round(Clock(None, began).elapsed(), 2)
            end |= {"seconds": seconds, "images_per_second": 0.0, "wait_share": 0.0}
            run.record(end)
            draw(run)
            yield end
    finally:
        if run is not None:
            run.close()


def create(recipe: Recipe, asked: dict) -> Run:
    """Create the run directory; what is decided, each member's own page says."""
    first = {"config.yaml": recipes.write(recipe, {}), "env.json": json.dumps({"asked": asked})}
    return runs.create(recipe.out, recipe.name, Path(recipe.data).stem, first)


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


def told(record: dict, number: int, turn: int, turns: int) -> dict:
    """A member's record as one of the whole run's."""
    if record["kind"] == "step":
        return record | {"progress": (turn + record["progress"]) / turns, "member": number}
    kind = "member" if record["kind"] == "end" else record["kind"]
    return record | {"kind": kind, "member": number}


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


def finish(recipe: Recipe, run: Run, folders: list[Path], world: World, moved: bool) -> dict:
    """Join members into the run's model file; choose, measure, tell.

    Data that `moved` since the members were trained must be the same.
    """
    where = job.set_up(recipe, world.alone())
    dataset, parts = job.open_data(recipe, where, world.alone())
    if moved:
        environment.check_unchanged(folders[0], dataset)
        runs.write_place(run.path, recipe.data)
    dataset.write_quarantine(run.path / "quarantine.csv")
    dataset.write_split(run.path / "split.csv")
    write_atomic(run.path / "classes.json", json.dumps(list(dataset.classes), indent=1))
    loaded = {f"member {n}": model.load(folder) for n, folder in enumerate(folders)}
    decided = runs.recipe(folders[0])
    views, page = decided.views or "one", loaded["member 0"].preprocessing

    def pictures():
        loader = job.make_loader(decided, parts["train"], page, where, World())
        batches = max(1, REFRESHED // loader.batch_size)
        return (batch.images for batch in islice(loader.epoch(REFRESH_EPOCH), batches))

    said = {n: model.Classifier.of(one.handed(), dataset.classes) for n, one in loaded.items()}
    ballot = Members(parts, said, where.threads.loader, pictures)
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
    best, fields = elect(run, ballot, found, views, every=True)
    header = {"members": [one.header for one in loaded.values()]}
    header |= {name: fields[name] for name in ("evaluation", "table")}
    save(run, ballot, best, fields["temperature"], views, header)
    return {"kind": "end", **fields, **counts(account(run, dataset, job.lost(parts)))}


def save(
    run: Run, ballot: Members, best: Candidate, temperature: float, views: str, header: dict
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
