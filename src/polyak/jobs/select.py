"""The last stage: the weights that predict are chosen and measured; the model file is written."""

from collections.abc import Iterator

import numpy as np

from polyak import metrics, model, transfer
from polyak.jobs.begin import Beginning
from polyak.jobs.record import start_event
from polyak.planning.probes import ProbePredictions, cross_validated, predict, with_probe
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event
from polyak.selection import election, finish
from polyak.training.training import Training


def select(beginning: Beginning, training: Training) -> Iterator[Event]:
    """Choose among the ways to end a training, measure them, write the model file."""
    run, session = training.run, training.session
    if run is None:
        return
    failed, files = training.loader.failed, training.loader.images.files
    late = [(str(files[position]), why) for position, why in failed]
    data = session.data.quarantined(late)  # readable when the run began, and no longer
    if late:
        data.dataset.write_quarantine(run.path / "quarantine.csv")
    facts = {"spec": beginning.network.spec, "steps": training.done}
    fields = finish.finish(
        session.resolved, data.dataset, training.step, training.validator, run, facts
    )
    fields |= training.throughput() | {"seconds": round(session.clock.elapsed(), 2)}
    yield EndEvent(**{name: value for name, value in fields.items() if name != "kind"})


def select_probe(beginning: Beginning, run: RunDirectory | None, resumed: bool) -> Iterator[Event]:
    """Measure the probe that a run is, and write it as a model file."""
    backbone, results, session = beginning.backbone, beginning.probes, beginning.session
    if run is None or backbone is None or results is None:
        return
    yield start_event(session, run, 0, 0, resumed)
    strategy = session.resolved.transfer
    probe = results.probes[strategy]
    failed, found = list(results.failed), {}
    for split in session.data.held_out:
        part = session.data.parts[split]
        found[split] = yield from predict(backbone, part, probe, strategy, session.resolved.views)
        failed += found[split].failed
    temperature = calibrated(probe, results.train.labels, found.get("val"))
    measured = {"evaluation": None, "confused": []}
    for split, one in found.items():
        answers = metrics.softmax(one.log_probs, temperature), one.labels, one.read
        measured = election.judge(run, session.data.parts[split].dataset, split, answers)
    data = session.data.quarantined(failed)
    if failed:
        data.dataset.write_quarantine(run.path / "quarantine.csv")
    network = with_probe(backbone, results, strategy)
    header = finish.provenance(session.resolved, data.dataset, {"steps": 0})
    header |= {"evaluation": measured["evaluation"], "probe": cross_validated(probe)}
    classifier = model.Classifier(
        network.module, network.spec, data.classes, network.preprocessing, temperature,
        session.resolved.views, header,
    )  # fmt: skip
    model.save(run.model, {"weights": network.module.state_dict()}, classifier, "weights")
    yield EndEvent(
        chosen=strategy,
        **measured,
        temperature=temperature,
        left_out=len(data.dataset.quarantine),
        model=str(run.model),
        seconds=round(session.clock.elapsed(), 2),
        images_per_second=0.0,
        wait_share=0.0,
        candidates={name: cross_validated(one) for name, one in results.probes.items()},
    )


def calibrated(probe: transfer.Probe, labels: np.ndarray, val: ProbePredictions | None) -> float:
    """Fit a temperature on all images that were predicted unseen: held out ones, and those of
    cross-validation, without which ten images of a small set would calibrate alone.

    >>> log_probs = np.log([[0.9, 0.1]] * 4)  # 90 % sure, right three times of four
    >>> probe = transfer.Probe(np.zeros((2, 1)), np.zeros(2), 0.1, None, log_probs)
    >>> round(calibrated(probe, np.array([0, 0, 0, 1]), None), 4)
    1.217
    """
    seen = ~np.isnan(probe.logs).any(1)
    log_probs, labels = probe.logs[seen], labels[seen]
    if val is not None:
        log_probs = np.concatenate([log_probs, val.log_probs])
        labels = np.concatenate([labels, val.labels])
    return metrics.fit_temperature(log_probs, labels) if len(labels) else 1.0
