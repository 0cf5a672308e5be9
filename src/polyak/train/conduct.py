"""The course of a run: find or create its directory, prepare, train, finish, write down."""

import copy
import json
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from torch import nn

from polyak import files
from polyak.augment.views import policies
from polyak.data.dataset import Dataset
from polyak.errors import UsageError, shown
from polyak.optim import schedules
from polyak.optim.rate_sweep import Range
from polyak.report import report
from polyak.train import (
    checkpoint,
    distil,
    distributed,
    environment,
    job,
    loggers,
    pick,
    probing,
    resumable,
    source,
    words,
)
from polyak.train import recipe as recipes
from polyak.train import run as runs
from polyak.train.decide import decide
from polyak.train.distributed import World
from polyak.train.finish import finish
from polyak.train.independent import conduct_members
from polyak.train.judge import Judge, copied
from polyak.train.loop import Loop
from polyak.train.pace import Clock, Pace
from polyak.train.probing import Backbone
from polyak.train.rate import with_rate
from polyak.train.recipe import Recipe
from polyak.train.run import Run
from polyak.train.signals import Stop
from polyak.train.snapshots import Snapshots
from polyak.train.speed import fit_widths, step_seconds
from polyak.transfer.tuning import STRATEGIES


def conduct(asked: Recipe, resume: bool, began: float) -> Iterator[dict]:
    """Run a recipe from its first line to its last, on every process."""
    world = distributed.join(asked.device)
    try:
        with Stop() as stop:
            path = find(asked, world) if resume else None
            if path is not None and runs.finished(path):
                if world.leads:
                    runs.tidy(path, draw)
                yield runs.records(path)[-1]
                return
            recipe = taken_up(asked, path)
            if recipe.independent:
                how = recipe, given(asked), path, began, world, stop
                yield from conduct_members(*how, _conduct, draw)
            else:
                yield from _conduct(asked, path, began, world, stop)
    finally:
        distributed.leave()


def find(asked: Recipe, world: World) -> Path | None:
    """Find the run that these choices began, None where there is none and data to begin with."""
    choices = given(asked) if asked.data else {}
    path = runs.find(asked.out, asked.name, choices)
    # a slower process could already see the run that the leader is about to begin
    if not world.from_leader([float(path is not None)])[0]:
        path = None
    if path is None and not asked.data:
        then = "polyak train DATA"
        raise UsageError("there is no unfinished run to resume", where=asked.out, then=then)
    return path


def taken_up(asked: Recipe, path: Path | None) -> Recipe:
    """The recipe of a run that is resumed, its data where it lies now, read along by whom is asked
    for now; else as asked.
    """
    if path is None:
        return asked
    recipe = runs.recipe(path)
    now = {name: getattr(asked, name) for name in ("data", "log")}
    return recipe.model_copy(update={k: v for k, v in now.items() if v not in ("", "none")})


def given(asked: Recipe) -> dict:
    """Keep what the user chose: all that differs from the defaults."""
    return asked.model_dump(mode="json", exclude_defaults=True)


def _conduct(
    asked: Recipe, path: Path | None, began: float, world: World, stop: Stop
) -> Iterator[dict]:
    where, dataset, parts, recipe, reasons = _opened(asked, path, began, world, stop)
    opened = dataset  # what a resume will find again; later some may turn out broken
    tried: dict[str, str] = {}
    network, spec, page = job.make_network(recipe, parts["train"], where)
    reasons |= {"dropout": job.places(network)} if recipe.dropout else {}
    if recipe.transfer != "none":
        backbone = Backbone(network, spec, page, where, stop)
        how = asked, recipe, reasons, (dataset, parts), backbone, began, world
        recipe, known, tried, (dataset, parts) = yield from pick.begin(*how)
        if recipe.transfer in probing.LINEAR:
            facts = environment.describe(opened, where, world, given(asked))
            if world.leads:
                run = _begun(path, recipe, reasons, dataset, facts, tried)
                work = probing.records(recipe, dataset, parts, backbone, known, run, began)
                yield from _probed(recipe, reasons, dataset, where, run, path, work)
            return
        network, spec = probing.classified(backbone, known, known.better)
        dataset, parts = job.decoded(dataset, parts, recipe, where, world)
    loader = job.make_loader(recipe, parts["train"], page, where, world)
    sweep = None
    if path is None and recipe.learning_rate == "auto":
        recipe, sweep = with_rate(recipe, reasons, network, loader, where, world, began)
    judge = make_judge(recipe, parts, loader, network, page, where, stop)
    teacher = distil.teacher(recipe.distill, page, dataset.classes, where.device)
    facts = environment.describe(opened, where, world, given(asked), distil.mark(recipe.distill))
    run = _begun(path, recipe, reasons, dataset, facts, tried, sweep) if world.leads else None
    judge.snapshots = Snapshots(run.checkpoints if run else None, cycle_ends(recipe))
    try:
        state, lines = saved(path, network) if path else (None, [])
        clock = Clock(recipe.budget_seconds, began)
        how = recipe, loader, network, judge, clock, where, world, teacher
        pace = again(state, path, recipe) or first_pace(*how)
        steps = round(1 / pace.rate)
        learner = job.make_learner(recipe, network, where, world, steps, teacher, loader)
        loop = Loop(learner, loader, judge, pace, clock, run, world, stop, recipe.save_every)
        if path and state:
            resumable.check(loop, state, path / "checkpoints")
            loop.load_state_dict(state)
        counts = loop.step, steps
        start = opening(recipe, reasons, dataset, where, run, *counts, path, lines)
        yield from told(run, recipe, _records(start, loop, recipe, dataset, spec))
    finally:
        if run is not None:
            run.close()


def again(state: dict | None, path: Path | None, recipe: Recipe) -> Pace | None:
    """Give the pace that a clock planned when the run began, where one did."""
    if path is None or state is None or recipe.epochs is not None:
        return None
    return resumable.first_pace(state, path)


def saved(path: Path, network: nn.Module) -> tuple[dict | None, list[str]]:
    """Read the newest checkpoint of a run, and what is to be told of the others."""
    limit = resumable.largest(network)
    return checkpoint.newest(path / "checkpoints", runs.identity(path), limit)


def _begun(path, recipe, reasons, dataset, facts, tried, sweep=None) -> Run:
    """Take a run up, or make its folder, and write down what it works on."""
    run = Run(path) if path else create(recipe, reasons, dataset, facts, tried)
    try:
        if path and runs.moved(path, recipe.data):
            runs.write_place(run.path, recipe.data)
        write_down(run, dataset, sweep)
    except BaseException:
        run.close()
        raise
    return run


def told(run: Run | None, recipe: Recipe, records: Iterator[dict]) -> Iterator[dict]:
    """Pass records on: read by the logger that was asked for, and written down."""
    # a process that does not lead has nothing to tell
    for record in loggers.logged(records, recipe.log if run else "none"):
        note(run, record)
        yield record


def note(run: Run | None, record: dict) -> None:
    """Write a record down, and what it says to a person; a step is no news."""
    if run is not None and record["kind"] not in ("step", "features"):
        run.record(record)
        for line in words.lines(record):
            run.log(line)


def _opened(asked: Recipe, path: Path | None, began: float, world: World, stop: Stop) -> tuple:
    """Set the machine up, open the data and decide: (machine, data, parts, recipe, reasons)."""
    recipe, reasons = taken_up(asked, path), {}
    source.check(recipe)
    if world.leads:
        files.check_writable(path or Path(asked.out))
    where = job.set_up(recipe, world, path)
    dataset, parts = job.open_data(recipe, where, world)
    dataset.warnings.extend(source.seen_before(recipe, dataset))
    stop.check("nothing was begun")
    if path is None:
        recipe, reasons = decide(recipe, dataset)
        recipe = fitted(recipe, reasons, parts["train"], where, world, began)
    else:
        environment.check_unchanged(path, dataset)
        distil.check_unchanged(recipe.distill, environment.of(path).get("teacher", ""), path)
    return where, dataset, parts, recipe, reasons


def _probed(recipe, reasons, dataset, where, run, path, work) -> Iterator[dict]:
    """Tell of a strategy that leaves the backbone as it is."""
    try:
        start = opening(recipe, reasons, dataset, where, run, 0, 0, path, [])
        for record in loggers.logged(chain([start], work), recipe.log):
            note(run if record["kind"] in ("start", "note", "end") else None, record)
            yield record
        draw(run)
    finally:
        run.close()


def draw(run: Run) -> None:
    """Write the page of a finished run; what it cannot show is no reason to lose the run."""
    try:
        report(run.path)
    except Exception as error:
        run.log(f"report.html was not written: {type(error).__name__}: {error}")


def fitted(recipe, reasons, train, where, world, began) -> Recipe:
    """Choose compact's widths by measured speed, where a budget left them open."""
    if recipe.model != "compact" or recipe.widths is not None or recipe.budget_seconds is None:
        return recipe
    left = recipe.budget_seconds - (time.monotonic() - began)
    widths, reasons["widths"] = fit_widths(recipe, train, where, world, left)
    return recipe.model_copy(update={"widths": widths})


def _records(
    start: dict, loop: Loop, recipe: Recipe, dataset: Dataset, spec: dict
) -> Iterator[dict]:
    yield start
    yield from loop.records()
    lost = loop.world.joined(job.lost(loop.judge.data))  # of all processes
    if loop.run is not None:
        facts = {"spec": spec, "steps": loop.step, "lost": lost}
        end = finish(recipe, dataset, loop.learner, loop.judge, loop.run, facts)
        yield end | loop.throughput() | {"seconds": round(loop.clock.elapsed(), 2)}
        draw(loop.run)  # from what the run directory now says


def create(
    recipe: Recipe, reasons: dict, dataset: Dataset, facts: str, tried: dict[str, str]
) -> Run:
    """Create the run directory with all that is known before training."""
    classes = json.dumps(list(dataset.classes), indent=1)
    first = {
        "config.yaml": recipes.write(recipe, reasons),
        "env.json": facts,
        "classes.json": classes,
        "log.txt": "".join(shown(line) + "\n" for line in dataset.warnings),
    }
    return runs.create(recipe.out, recipe.name, Path(recipe.data).stem, first | tried)


def write_down(run: Run, dataset: Dataset, sweep: Range | None) -> None:
    """Write what was found out before training: left out, parts, sweep."""
    dataset.write_quarantine(run.path / "quarantine.csv")
    dataset.write_split(run.path / "split.csv")
    if sweep is not None:
        sweep.save(run.path / "learning_rate.svg")


def make_judge(recipe, parts, loader, network, page, where, stop) -> Judge:
    """Make the judge of a decided recipe; the network still is as training begins with it."""
    times = 4 if recipe.epochs is None else min(max(1, round(recipe.epochs)), 20)
    times = 20 if recipe.patience else times
    members = len(cycle_ends(recipe))
    candidates = 1 + len(recipe.average) + (2 * members + 2 if members else 0)
    tuned = recipe.transfer in STRATEGIES
    return Judge(
        parts,
        loader,
        page,
        where,
        times=times,
        patience=recipe.patience,
        views=len(policies(recipe.views or "one")),
        check=lambda: stop.check("the last checkpoint"),
        candidates=candidates + 2 * tuned,  # the probe, and halfway from it
        start=copied(network) if tuned else None,
    )


def cycle_ends(recipe: Recipe) -> list[float]:
    """Progress at which each snapshot of a decided recipe is due; none where none are taken."""
    if recipe.ensemble != "snapshots":
        return []
    how = recipe.cycles, recipe.cycle_growth, recipe.warm_up
    return schedules.named_ends(recipe.schedule, *how)


def first_pace(recipe, loader, network, judge, clock, where, world, teacher) -> Pace:
    """Plan the number of steps: of the epochs asked for, or of what fits the budget."""
    if recipe.epochs is not None:
        return Pace(1 / max(1, round(recipe.epochs * len(loader))))
    # alone: the other processes time their own, and the leader's word counts
    trial = job.make_learner(recipe, copy.deepcopy(network), where, World(), 1000, teacher)
    seconds = step_seconds(trial, loader)
    judge.picture_seconds = seconds / (loader.batch_size / world.size) / 3  # forward alone
    clock.note_step(seconds)
    clock.validation_seconds = 2 * judge.picture_seconds * len(judge.data.get("val", ()))
    clock.finish_seconds = judge.finish_seconds()
    return Pace(1 / world.from_leader([float(clock.steps_left(judge.left))])[0])


def opening(recipe, reasons, dataset, where, run, step, steps, path, lines) -> dict:
    """Tell what is about to happen."""
    counts = {name: int((dataset.splits == name).sum()) for name in ("train", "val", "test")}
    return {
        "kind": "start",
        "run": str(run.path) if run else "",
        "resumed": path is not None,
        "step": step,
        "steps": steps,
        "found": dataset.found,
        "left_out": len(dataset.quarantine),
        **counts,
        "classes": len(dataset.classes),
        **({"bits": dataset.bits} if dataset.bits < 16 else {}),
        "model": recipe.model,
        "device": where.device,
        "precision": f"{where.precision.name}: {where.precision.reason}",
        "threads": where.threads._asdict(),
        "decided": {name: [str(getattr(recipe, name)), why] for name, why in reasons.items()},
        "warnings": [*dataset.warnings, *lines],
    }
