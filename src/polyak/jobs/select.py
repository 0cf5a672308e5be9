"""The last stage: the weights that predict are chosen and measured; the model file is written."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from polyak import __version__, model, selection, transfer
from polyak.data.dataset import Dataset
from polyak.jobs.begin import Beginning
from polyak.jobs.candidates import pool_of, run_candidates
from polyak.jobs.record import start_event
from polyak.model.member import Member
from polyak.planning.probes import ProbePredictions, cross_validated, predict, with_probe
from polyak.recipe.recipe import ELSEWHERE
from polyak.recipe.resolved import Resolved
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event
from polyak.selection import SplitPredictions, measured_by
from polyak.targets import SINGLE_LABEL, TargetKind
from polyak.training.network import Network
from polyak.training.training import Training


def select(beginning: Beginning, training: Training) -> Iterator[Event]:
    """Choose among the ways to end a training, measure them, write the model file.

    Raises:
        DivergedError: no weights of it give finite answers.
    """
    run, session = training.run, training.session
    lost = session.process.joined(session.data.lost())  # of all processes
    if run is None:
        return
    network, resolved = beginning.network, session.resolved
    pool = pool_of(training)
    member = Member(training.step.network, network.spec, pool.classes, network.preprocessing)
    found = run_candidates(training, pool, member)
    every = resolved.ensemble is not None
    chosen = selection.select(pool, found, views=resolved.views, every=every)
    chosen.write_predictions(run.predictions)
    left = account(run, session.data.dataset, lost | session.data.lost())
    header = provenance(resolved, session.data.dataset, left, training.done)
    chosen.save(run.model, header | started_from(network))
    figures = chosen.as_json() | counts(left) | training.throughput()
    yield EndEvent(**figures, model=str(run.model), seconds=round(session.clock.elapsed(), 2))


def account(run: RunDirectory, dataset: Dataset, lost: dict[str, str]) -> Dataset:
    """Set aside what was lost in the course of a run (path -> reason), and write it down."""
    left = dataset.set_aside(lost)
    if left is not dataset:
        left.write_quarantine(run.path / "quarantine.csv")
    return left


def counts(dataset: Dataset) -> dict[str, Any]:
    """Count for the last event: found is what was used and what was left out.

    >>> from pathlib import Path
    >>> from polyak.data.sources.files import Files
    >>> counts(Dataset(Files(".", []), *[np.zeros(0)] * 5, quarantine=[("a", "empty file")]))
    {'found': 1, 'left_out': 1}
    """
    return {"found": dataset.found, "left_out": len(dataset.quarantine)}


def provenance(resolved: Resolved, started: Dataset, left: Dataset, steps: int) -> dict[str, Any]:
    """Say where a model comes from; nothing in it depends on clock, place or machine load.

    Args:
        resolved: the run's choices.
        started: the data as the run began with it.
        left: without what was lost since.
        steps: that were taken.
    """
    parts = {name: int((left.splits == name).sum()) for name in ("train", "val", "test")}
    return {
        "polyak": __version__,
        "recipe": resolved.model_dump(exclude=ELSEWHERE),
        "data": {"fingerprint": started.fingerprint(), "left_out": len(left.quarantine), **parts},
        "steps": steps,
    }


def started_from(network: Network) -> dict[str, Any]:
    """Say for a model file which weights it was made of; nothing where there were none."""
    return {"weights": network.origin.as_facts()} if network.origin else {}


def select_probe(beginning: Beginning, run: RunDirectory | None, resumed: bool) -> Iterator[Event]:
    """Measure the probe that a run is, and write it as a model file."""
    backbone, results, session = beginning.backbone, beginning.probes, beginning.session
    if run is None or backbone is None or results is None:
        return
    yield start_event(session, run, 0, 0, resumed)
    strategy, views = session.resolved.transfer, session.resolved.views
    probe = results.probes[strategy]
    lost, found = dict(results.failed), {}
    for split in session.data.held_out:
        part = session.data.parts[split]
        found[split] = yield from predict(backbone, part, probe, strategy, views)
        lost |= dict(found[split].failed)
    train = results.train.dataset
    temperature = calibrated(probe, train.labels, found.get("val"), train.kind)
    measured = measured_by(None)
    for split, one in found.items():
        dataset = session.data.parts[split].dataset
        odds = dataset.kind.probabilities(one.log_probs, temperature)
        predictions = SplitPredictions(split, dataset, odds, one.labels, one.read)
        predictions.write(run.predictions)
        measured = measured_by(predictions)
    left = account(run, session.data.dataset, lost)
    network = with_probe(backbone, results, strategy)
    header = provenance(session.resolved, session.data.dataset, left, 0)
    header |= started_from(backbone.network)
    header |= {"evaluation": measured["evaluation"], "probe": cross_validated(probe)}
    classes = session.data.classes
    member = model.Member(network.module, network.spec, classes, network.preprocessing)
    classifier = model.Classifier([member], classes, temperature, views, header)
    model.save(run.model, {"weights": network.module.state_dict()}, classifier, "weights")
    yield EndEvent(
        chosen=strategy,
        **(measured | counts(left)),
        temperature=temperature,
        model=str(run.model),
        seconds=round(session.clock.elapsed(), 2),
        candidates={name: cross_validated(one) for name, one in results.probes.items()},
    )


def calibrated(
    probe: transfer.Probe,
    labels: np.ndarray,
    val: ProbePredictions | None,
    kind: TargetKind = SINGLE_LABEL,
) -> float:
    """Fit a temperature on all images that were predicted unseen: held out ones, and those of
    cross-validation, without which ten images of a small set would calibrate alone.

    Args:
        probe: with what its classifiers of cross-validation predicted.
        labels: int64 (n,), of the images that it learned from.
        val: what it predicts of held-out ones.
        kind: of the targets.

    >>> log_probs = np.log([[0.9, 0.1]] * 4)  # 90 % sure, right three times of four
    >>> probe = transfer.Probe(np.zeros((2, 1)), np.zeros(2), 0.1, None, log_probs)
    >>> round(calibrated(probe, np.array([0, 0, 0, 1]), None), 4)
    1.217
    """
    seen = ~np.isnan(probe.log_probs).any(1)
    log_probs, labels = probe.log_probs[seen], labels[seen]
    if val is not None:
        log_probs = np.concatenate([log_probs, val.log_probs])
        labels = np.concatenate([labels, val.labels])
    return kind.temperature(log_probs, labels)
