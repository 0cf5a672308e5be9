"""Independent members: N runs within one run, on one split, that become one model file."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from torch import Tensor

from polyak import model, selection
from polyak.ensemble import copied
from polyak.files import write_atomic
from polyak.selection import Candidate, CandidatePool, Runtime, WeightKind
from polyak.selection.candidates import candidate, ensembles, soups
from polyak.train import job
from polyak.train import recipe as recipes
from polyak.train import run as runs
from polyak.train.distributed import World
from polyak.train.judge import REFRESH_EPOCH, REFRESHED
from polyak.train.recipe import Recipe
from polyak.train.run import Run

TRAINING = 0.95  # of a budget; the rest joins and measures

Train = Callable[[Recipe, Path | None], Iterator[dict]]


def train_members(recipe: Recipe, run: Run | None, world: World, train: Train) -> Iterator[dict]:
    """Train members one after another, or one a process under torchrun, and join them.

    Args:
        recipe: as asked for, or as the run that is resumed was.
        run: the run directory of the whole; None on processes that do not lead.
        world: this process among all.
        train: trains one member by its recipe, or takes up its run directory.

    Yields:
        The members' records, at last the whole's, of kind "end".
    """
    folder = Path(world.text_from_leader(str(run.path) if run else "")) / "members"
    mine = range(world.rank, recipe.independent, world.size)
    turns = -(-recipe.independent // world.size)
    for turn, number in enumerate(mine):
        there = folder / str(number)
        if runs.finished(there):
            continue
        found = there if (there / "config.yaml").is_file() else None
        for record in train(member_recipe(recipe, number, folder, turns), found):
            yield of_member(record, number, turn, turns)
    world.highest([0.0])  # until everybody is done
    if run is not None:
        yield finish(recipe, run, [folder / str(n) for n in range(recipe.independent)], world)


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


def of_member(record: dict, number: int, turn: int, turns: int) -> dict:
    """A member's record as one of the whole run's."""
    if record["kind"] == "step":
        return record | {"progress": (turn + record["progress"]) / turns, "member": number}
    kind = "member" if record["kind"] == "end" else record["kind"]
    return record | {"kind": kind, "member": number}


def finish(recipe: Recipe, run: Run, folders: list[Path], world: World) -> dict:
    """Join members into the run's model file; choose, measure, and return the last record."""
    where = job.set_up(recipe, world.alone())
    dataset, parts = job.open_data(recipe, where, world.alone())
    dataset.write_quarantine(run.path / "quarantine.csv")
    dataset.write_split(run.path / "split.csv")
    write_atomic(run.path / "classes.json", json.dumps(list(dataset.classes), indent=1))
    loaded = [model.load(folder) for folder in folders]
    decided = recipes.make(**runs.config(folders[0]))

    def batches() -> Iterator[Tensor]:
        wanted = loaded[0].preprocessing
        loader = job.make_loader(decided, parts["train"], wanted, where, World())
        count = max(1, REFRESHED // loader.batch_size)
        return (batch.images for batch in islice(loader.epoch(REFRESH_EPOCH), count))

    pool = CandidatePool(parts, batches, Runtime(threads=where.threads.loader), finished=True)
    for number, one in enumerate(loaded):
        for member in one.handed():
            member.order(dataset.classes)
            pool.add(f"member {number}", copied(member.network), member)
    found = candidates(pool, loaded)
    chosen = selection.select(pool, found, views=decided.views or "one", every=True)
    chosen.write_predictions(run.predictions)
    chosen.save(run.model, {"members": [one.header for one in loaded]})
    rest = {"left_out": len(dataset.quarantine), "model": str(run.model)}
    return {"kind": "end", **chosen.as_json(), **rest}


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
