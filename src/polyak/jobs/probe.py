"""The last stage of a run that trains nothing: its probes are measured and become a model file."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from polyak import metrics, model
from polyak.data.dataset import Dataset
from polyak.jobs.begin import Beginning
from polyak.jobs.record import start_event
from polyak.jobs.select import account, counts, provenance
from polyak.model import Classifier, Member
from polyak.networks.origin import origin_facts
from polyak.planning.backbones import Joined, Probed
from polyak.planning.probes import ProbePredictions, cross_validated, predict, with_probe
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event
from polyak.selection import OUT_OF_FOLD, SplitPredictions, fold_figures, measured_by
from polyak.targets import SINGLE_LABEL, TargetKind, kind_facts


def select_probe(beginning: Beginning, run: RunDirectory | None, resumed: bool) -> Iterator[Event]:
    """Measure the probe that a run is, or several joined, and write it as a model file."""
    session, joined = beginning.session, _probes(beginning)
    if run is None or joined is None:
        return
    yield start_event(session, run, 0, 0, resumed)
    lost, found = dict(joined.members[0].results.failed), {}
    for split in session.data.held_out:
        found[split] = yield from _predicted(joined, split, session.resolved.views)
        lost |= dict(found[split].failed)
    kind = session.data.dataset.kind
    temperature = calibrated(joined.log_probs, joined.labels, found.get("val"), kind)
    measured, decides = measured_by(None), kind
    if kind.several:  # what every image was predicted by, that did not learn from it, chooses
        decides = kind.fitted(*_unseen(joined, found.get("val"), temperature))
    for split, one in found.items():
        dataset = session.data.parts[split].dataset
        odds = dataset.kind.probabilities(dataset.kind.logits(one.log_probs), temperature)
        predictions = SplitPredictions(split, dataset, odds, one.labels, one.read).by(decides)
        predictions.write(run.predictions)
        measured = measured_by(predictions)
    folds = None
    if session.resolved.folds:
        unseen = _out_of_fold(joined, temperature).by(decides)
        unseen.write(run.predictions)
        folds = {"final": "refit", "passes": len(joined.members), **fold_figures(unseen)}
        measured = measured if found else measured_by(unseen)
    left = account(run, session.data.dataset, lost)
    classifier = _classifier(beginning, joined, temperature, left)
    classifier.kind = decides
    classifier.header["evaluation"] = measured["evaluation"]
    if len(joined.labels) and not kind.several:
        odds = kind.probabilities(kind.logits(joined.log_probs), temperature)
        conformal = metrics.Conformal.of(odds, joined.labels, "cross-validation")
        classifier.header["conformal"] = conformal.as_facts()
    write(classifier, run.model)
    yield EndEvent(
        chosen=session.resolved.transfer if len(joined.members) == 1 else joined.title,
        **(measured | counts(left)),
        temperature=temperature,
        model=str(run.model),
        seconds=round(session.clock.elapsed(), 2),
        candidates=_candidates(joined),
        folds=folds,
    )


def write(classifier: Classifier, path: Path) -> None:
    """Write a classifier as a model file: its one network, or its members.

    Raises:
        DiskError: the disk refused.
    """
    if len(classifier.members) > 1:
        model.save(path, {}, classifier, "members")
    else:
        model.save(path, {"weights": classifier.network.state_dict()}, classifier, "weights")


def _out_of_fold(joined: Joined, temperature: float) -> SplitPredictions:
    """What classifiers of cross-validation said of the images that they did not see."""
    first = joined.members[0]
    dataset, at = first.results.train.dataset, first.held_out
    odds = dataset.kind.probabilities(dataset.kind.logits(joined.log_probs), temperature)
    fold = first.results.fold[at]
    return SplitPredictions(OUT_OF_FOLD, dataset, odds, joined.labels, at, fold)


def _unseen(
    joined: Joined, val: ProbePredictions | None, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the images that were predicted unseen, and their labels."""
    log_probs, labels = _beside(joined.log_probs, joined.labels, val)
    kind = joined.members[0].kind
    return kind.probabilities(kind.logits(log_probs), temperature), labels


def _probes(beginning: Beginning) -> Joined | None:
    if beginning.joined is not None:
        return beginning.joined
    if beginning.backbone is None or beginning.probes is None:
        return None
    strategy = beginning.session.resolved.transfer
    return Joined.alone(Probed(beginning.backbone, beginning.probes, strategy, 0.0))


def _predicted(joined: Joined, split: str, views: str) -> Generator[Event, None, ProbePredictions]:
    """Predict a split by all members; an image that one of them could not read counts as lost."""
    rows: list[np.ndarray] = []
    failed: dict[str, str] = {}
    for one in joined.members:
        part = one.backbone.session.data.parts[split]
        found = yield from predict(one.backbone, part, one.probe, one.strategy, views)
        table = np.full((len(part), found.log_probs.shape[1]), np.nan, np.float32)
        table[found.read] = found.log_probs
        rows.append(table)
        failed |= dict(found.failed)
    read = np.flatnonzero(~np.isnan(np.stack(rows)).any((0, 2)))
    mean = joined.mean([table[read] for table in rows])
    labels = joined.members[0].backbone.session.data.parts[split].labels
    return ProbePredictions(mean, labels[read], read, sorted(failed.items()))


def _classifier(
    beginning: Beginning, joined: Joined, temperature: float, left: Dataset
) -> Classifier:
    session = beginning.session
    several = len(joined.members) > 1
    classes, members = session.data.classes, []
    for one in joined.members:
        network = with_probe(one.backbone, one.results, one.strategy)
        member = Member(network.module, network.spec, classes, network.preprocessing)
        if several:
            member = replace(member, temperature=one.temperature)
        members.append(member)
    header = provenance(session.resolved, session.data.dataset, left, 0)
    first = joined.members[0]
    header |= origin_facts(*(one.backbone.network.origin for one in joined.members))
    header |= {"evaluation": None, "probe": cross_validated(first.probe)}
    header |= kind_facts(session.data.dataset.kind)
    return Classifier(members, classes, temperature, session.resolved.views, header)


def _candidates(joined: Joined) -> dict[str, dict[str, float]]:
    """What cross-validation says of every probe."""
    if len(joined.members) == 1:
        probes = joined.members[0].results.probes
        return {name: cross_validated(one) for name, one in probes.items()}
    return {one.model: cross_validated(one.probe) for one in joined.members}


def calibrated(
    log_probs: np.ndarray,
    labels: np.ndarray,
    val: ProbePredictions | None,
    kind: TargetKind = SINGLE_LABEL,
) -> float:
    """Fit a temperature on all images that were predicted unseen: held out ones, and those of
    cross-validation, without which ten images of a small set would calibrate alone.

    Args:
        log_probs: float (n, K), what classifiers of cross-validation predicted.
        labels: int64 (n,), the true classes of those images.
        val: what is predicted of held-out images.
        kind: of the targets.

    >>> log_probs = np.log([[0.9, 0.1]] * 4)  # 90 % sure, right three times of four
    >>> round(calibrated(log_probs, np.array([0, 0, 0, 1]), None), 4)
    1.217
    """
    return kind.temperature(*_beside(log_probs, labels, val))


def _beside(
    log_probs: np.ndarray, labels: np.ndarray, val: ProbePredictions | None
) -> tuple[np.ndarray, np.ndarray]:
    """Put what is predicted of held-out images beside cross-validation's predictions."""
    if val is None:
        return log_probs, labels
    return np.concatenate([log_probs, val.log_probs]), np.concatenate([labels, val.labels])
