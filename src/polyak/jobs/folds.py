"""Folds: every image is predicted by a model that did not see it; then one model is made of all."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from polyak import metrics, model, selection
from polyak.data.dataset import Dataset
from polyak.data.folds import fold_numbers
from polyak.errors import RefusedError, UsageError
from polyak.jobs.command import Command
from polyak.jobs.final import made
from polyak.jobs.open import scan_data
from polyak.jobs.probe import write
from polyak.jobs.select import account, counts, provenance
from polyak.jobs.train import train
from polyak.jobs.within import Last, reopened, train_within
from polyak.model import Classifier
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import ends_as_probe
from polyak.recipe.weights import with_weights
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event
from polyak.rundir.records import records
from polyak.selection import OUT_OF_FOLD, SplitPredictions, fold_figures
from polyak.targets import kind_facts
from polyak.training.session import Session


def train_folds(command: Command) -> Iterator[Event]:
    """Train without each fold in turn, and make one model of all; probes need but one pass."""
    recipe = command.recipe
    dataset = scan_data(recipe, command.process.local_size)
    if ends_as_probe(with_weights(recipe, dataset)[0]):
        if recipe.final not in (None, "refit"):
            why = "a probe is fitted on all images in a moment"
            then = "leave it away, or let more learn with --transfer all"
            raise UsageError("nothing to join", where=f"--final {recipe.final}", why=why, then=then)
        yield from train(command)
        return
    choices = [{"fold": number, "final": None} for number in range(recipe.folds or 0)]
    refit = Last({"final": "refit"}, preferred) if recipe.final == "refit" else None
    yield from train_within(command, "folds", choices, partial(join, command, recipe), refit)


def preferred(folders: list[Path]) -> str:
    """Name the way to end a run that most folds chose, of equals the first.

    >>> preferred([])
    ''
    """
    ends = [str(records(folder)[-1].get("chosen", "")) for folder in folders]
    return max(ends, key=ends.count, default="")


def join(
    command: Command, recipe: Recipe, run: RunDirectory, folders: list[Path], moved: bool
) -> EndEvent:
    """Make one model of the folds' models, and measure it by what each said of its own fold.

    Args:
        command: of the whole run.
        recipe: of the whole run.
        run: its directory.
        folders: of the folds' runs, and of the one of all images where it is wanted.
        moved: whether the data lies elsewhere than when they were trained: it must be the same.
    """
    session = reopened(command, run, folders[0], moved)
    folds = folders[: recipe.folds]
    unseen = out_of_fold(folds, session.data.dataset, recipe)
    unseen = unseen.by(unseen.dataset.kind.fitted(unseen.probabilities, unseen.labels))
    unseen.write(run.predictions)
    loaded = [model.load(folder) for folder in folders]
    final = made(session, recipe.final or "ensemble", loaded, len(folds))
    final.classifier.kind = unseen.dataset.kind
    last = _tested(session, final.classifier, run) or unseen
    left = account(run, session.data.dataset, session.data.lost())
    header = provenance(session.resolved, session.data.dataset, left, 0)
    header |= {name: loaded[0].header[name] for name in ("weights",) if name in loaded[0].header}
    measured = selection.measured_by(last)
    found = {"final": final.kind, "passes": final.passes, **fold_figures(unseen)}
    final.classifier.header = header | {
        "evaluation": measured["evaluation"],
        "folds": found,
        **kind_facts(unseen.dataset.kind),
    }
    if not unseen.dataset.kind.several:
        conformal = metrics.Conformal.of(unseen.probabilities, unseen.labels, "the folds")
        final.classifier.header["conformal"] = conformal.as_facts()
    write(final.classifier, run.model)
    return EndEvent(
        chosen=final.title,
        temperature=final.classifier.temperature,
        model=str(run.model),
        seconds=0.0,
        folds=found,
        cautions=[*measured.pop("cautions"), *final.notes],
        **(measured | counts(left)),
    )


def out_of_fold(folders: list[Path], dataset: Dataset, recipe: Recipe) -> SplitPredictions:
    """Collect what each fold's model predicted of its fold.

    Args:
        folders: of the folds' runs, in their order.
        dataset: all images.
        recipe: says how they were dealt.

    Raises:
        RefusedError: a run's predictions are damaged.
    """
    place = {name: position for position, name in enumerate(dataset.paths)}
    dealt = fold_numbers(dataset, len(folders), recipe.seed)
    odds, positions = [np.zeros((0, len(dataset.classes)), np.float32)], []
    for number, folder in enumerate(folders):
        file = folder / "predictions" / "val.safetensors"
        try:
            rows, names = load_file(file)["probabilities"], _paths(file.with_suffix(".csv"))
            own = [place[name] for name in names]
        except Exception as error:  # of the libraries' own kinds
            why = " ".join(str(error).split())[:200]
            what = "cannot read a fold's predictions"
            raise RefusedError(what, where=str(file), why=why) from error
        if rows.shape != (len(own), len(dataset.classes)) or (dealt[own] != number).any():
            raise RefusedError("a fold's predictions are not of its images", where=str(file))
        odds.append(rows)
        positions += own
    at = np.array(positions, np.int64)
    order = np.argsort(at)
    at, table = at[order], np.concatenate(odds)[order]
    return SplitPredictions(OUT_OF_FOLD, dataset, table, dataset.labels[at], at, dealt[at])


def _paths(file: Path) -> list[str]:
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        rows = [row["path"] for row in csv.DictReader(lines)]
    return [name.removeprefix("./") for name in rows]


def _tested(session: Session, classifier: Classifier, run: RunDirectory) -> SplitPredictions | None:
    """Predict the test part by the model that ships, where there is one."""
    part = session.data.parts.get("test")
    if part is None:
        return None
    machine = session.machine
    odds, failed = classifier.probabilities(
        part.images, device=machine.device, threads=machine.threads.loader,
        check=lambda: session.stop.check("the folds so far"),
    )  # fmt: skip
    read = np.setdiff1d(np.arange(len(part)), [position for position, _ in failed])
    found = SplitPredictions("test", part.dataset, odds[read], part.labels[read], read)
    found = found.by(classifier.kind)
    found.write(run.predictions)
    return found
