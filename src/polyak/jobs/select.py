"""The last stage: the weights that predict are chosen and measured; the model file is written."""

from collections.abc import Iterator
from typing import Any

from polyak import __version__, selection
from polyak.data.dataset import Dataset
from polyak.jobs.begin import Beginning
from polyak.jobs.candidates import pool_of, run_candidates
from polyak.model.member import Member
from polyak.networks.origin import origin_facts
from polyak.recipe.recipe import ELSEWHERE
from polyak.recipe.resolved import Resolved
from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import EndEvent, Event
from polyak.training.training import Training


def select(beginning: Beginning, training: Training, preferred: str = "") -> Iterator[Event]:
    """Choose among the ways to end a training, measure them, write the model file.

    Args:
        beginning: of the run.
        training: at its end.
        preferred: the way that is taken where nothing is held out.

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
    found = run_candidates(training, pool, member, beginning.joined)
    every = resolved.ensemble is not None
    chosen = selection.select(
        pool, found, views=resolved.views, every=every, preferred=preferred, by=resolved.choose_by
    )
    chosen.write_predictions(run.predictions)
    left = account(run, session.data.dataset, lost | session.data.lost())
    header = provenance(resolved, session.data.dataset, left, training.done)
    chosen.save(run.model, header | origin_facts(network.origin))
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

    >>> import numpy as np
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
    shares = started.part("train").shares().round(9).tolist()
    several = started.kind.several
    assumed = shares if resolved.balance == "none" else [1 / len(shares)] * len(shares)
    return {
        "polyak": __version__,
        **({} if several else {"prior": assumed}),
        "recipe": resolved.model_dump(exclude=ELSEWHERE),
        "data": {"fingerprint": started.fingerprint(), "left_out": len(left.quarantine), **parts},
        "steps": steps,
    }
