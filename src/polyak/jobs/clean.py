"""`polyak clean`: what may be wrong with some images, found with nothing but the images."""

from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np

from polyak import clean as faults
from polyak.clean import Findings, Issue, ordered
from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.data.parts import Splits
from polyak.data.scan import mixed
from polyak.ensemble import tempered
from polyak.errors import UsageError
from polyak.jobs.command import Command
from polyak.jobs.open import open_data, scan_data
from polyak.model import source
from polyak.networks import HEAD
from polyak.planning.backbones import Probed
from polyak.planning.probes import Backbone, fit_probes
from polyak.recipe.machine import set_up
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import resolve
from polyak.recipe.weights import with_weights
from polyak.rundir.events import Event, NoteEvent
from polyak.training.pace import Clock
from polyak.training.session import Session


def clean(recipe: Recipe) -> Generator[Event, None, Findings]:
    """Look through all images of some data, whatever split they are of.

    Every image is predicted by a probe that did not learn from it, nor from what looks the same.

    Args:
        recipe: data, weights, seed; nothing of training.

    Raises:
        UsageError: there are no weights to start from, or cleanlab is missing.
        DataError: the data cannot be used.
    """
    session, data = _opened(recipe)
    for line in data.dataset.warnings:
        yield NoteEvent(line)
    if data.dataset.kind.several:
        why = "labels are checked where each image has one"
        raise UsageError("these images have several labels", where=recipe.data, why=why)
    backbone = Backbone(session, session.network())
    results = yield from fit_probes(backbone)
    probed = Probed(backbone, results, results.best, 0.0)
    rows = results.read[probed.held_out]
    odds = np.exp(tempered(probed.probe.log_probs[probed.held_out], probed.temperature))
    dataset, images = data.train.dataset, data.train.images
    if not len(rows):
        yield NoteEvent("no label was checked: no class has images of two groups")
    found = [*_contradictions(dataset), *_copies(dataset), *_labels(dataset, rows, odds)]
    whole = results.features.of([HEAD])
    at, scores = faults.odd(whole[results.read])
    found += _plain(dataset, "odd", results.read[at], scores)
    quality = faults.measure(images, session.machine.threads.compute)
    for kind, look in (("dark", faults.dark), ("blurred", faults.soft), ("tiny", faults.tiny)):
        found += _plain(dataset, kind, *look(quality))
    return Findings(ordered(found), dataset, images, probed.score[0])


def _opened(recipe: Recipe) -> tuple[Session, Splits]:
    source.check(recipe.weights, recipe.model)
    command, dataset = Command.alone(recipe), scan_data(recipe)
    chosen, reason = with_weights(recipe, dataset)
    if chosen.weights is None:
        why = reason or "none were asked for"
        raise UsageError("cleaning starts from weights", why=why, then="name some with --weights")
    machine = set_up(chosen, 1)
    data = open_data(chosen, dataset, machine)
    # all images are looked at, those of given splits too
    merged = data.dataset.take(np.arange(len(data.dataset)))
    merged.splits[:] = "train"
    images = Images.open(
        merged, machine.threads.compute, 0, min_size=data.train.images.decoding.min_size
    )
    data = Splits.of(merged, images)
    resolved = resolve(chosen, merged, {"weights": reason} if reason else None)
    clock = Clock(None, command.began)
    return Session(resolved, machine, command.process, data, clock, command.stop), data


def _labels(data: Dataset, rows: np.ndarray, odds: np.ndarray) -> Iterator[Issue]:
    if not len(rows):
        return
    at, quality = faults.label_errors(odds, data.labels[rows])
    decided = data.kind.decide(odds)
    for position, score in zip(at, quality, strict=True):
        guess = int(decided[position])
        image = int(rows[position])
        suspect = _issue(data, image, "label", float(score), data.classes[guess])
        yield replace(suspect, probability=float(odds[position, guess]))


def _contradictions(data: Dataset) -> Iterator[Issue]:
    """Exact copies that carry different labels: all of them, since one is wrong."""
    _, copy = np.unique(data.digests, axis=0, return_inverse=True)
    copy = copy.reshape(-1)
    for image in mixed(copy, data.labels):
        others = {int(data.labels[i]) for i in np.flatnonzero(copy == copy[image])}
        names = "; ".join(data.classes[i] for i in sorted(others - {int(data.labels[image])}))
        yield _issue(data, int(image), "contradiction", 0.0, names)


def _copies(data: Dataset) -> Iterator[Issue]:
    """All but the first of each class's exact copies, and of what looks the same."""
    same = data.copies()
    close = data.groups if data.groups is not None and data.named_groups is None else same
    copies = set(_again(same))
    for image in sorted(copies):
        yield _issue(data, image, "copy", 0.0)
    for image in sorted(set(_again(close)) - copies):
        yield _issue(data, image, "similar", 0.5)


def _again(groups: np.ndarray) -> list[int]:
    """All but the first of each group."""
    order = np.argsort(groups, kind="stable")
    return order[1:][groups[order[1:]] == groups[order[:-1]]].tolist()


def _plain(data: Dataset, kind: str, at: np.ndarray, scores: np.ndarray) -> list[Issue]:
    pairs = zip(at, scores, strict=True)
    return [_issue(data, image, kind, float(score)) for image, score in pairs]


def _issue(data: Dataset, image: int, kind: str, score: float, suggested: str = "") -> Issue:
    at = int(image)
    return Issue(data.paths[at], kind, score, data.classes[int(data.labels[at])], suggested)
