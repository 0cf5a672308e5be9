"""The end of a run: choose on validation, fit the temperature, measure, write the model file."""

import copy
from collections import Counter

from torch import nn

from polyak import __version__, model
from polyak.data.dataset import Dataset
from polyak.model.member import Member
from polyak.train.candidates import START, Candidate, Trained, candidates, choose
from polyak.train.election import elect
from polyak.train.job import lost
from polyak.train.judge import Judge
from polyak.train.learner import Learner
from polyak.train.recipe import ELSEWHERE, Recipe
from polyak.train.run import Run


def finish(
    recipe: Recipe, data: Dataset, learner: Learner, judge: Judge, run: Run, facts: dict
) -> dict:
    """Choose, calibrate, measure and write; return the run's last record.

    Args:
        recipe: as decided.
        data: all usable pictures.
        learner: trained.
        judge: knows the parts of the data.
        run: where to write.
        facts: of this run: "spec" of the network, "steps", "lost" (path -> reason of images that
            another process could not read).
    """
    views = recipe.views or "one"
    ballot, found = candidates(learner, judge, [share for share in recipe.average if share])
    best, fields = elect(run, ballot, found, views, every=recipe.ensemble is not None)
    told = {name: fields[name] for name in ("evaluation", "table")}
    counted = account(run, data, facts["lost"] | lost(judge.data))
    header = provenance(recipe, data, counted, facts) | told
    write_model(run, ballot, found, best, data.classes, views, facts["spec"], header)
    return {"kind": "end", **fields, **counts(counted)}


def account(run: Run, data: Dataset, lost: dict[str, str]) -> Dataset:
    """Set aside what was lost in the course of a run (path -> reason), and write it down."""
    left = data.set_aside(lost)
    if left is not data:
        left.write_quarantine(run.path / "quarantine.csv")
    return left


def counts(data: Dataset) -> dict[str, int]:
    """Count for a record: found is what was used and what was left out.

    >>> counts(Dataset(Path("."), [], *[np.zeros(0)] * 5, quarantine=[("a", "empty file")]))
    {'found': 1, 'left_out': 1}
    """
    return {"found": data.found, "left_out": len(data.quarantine)}


def write_model(
    run: Run,
    ballot: Trained,
    found: list[Candidate],
    best: Candidate,
    classes: tuple[str, ...],
    views: str,
    spec: dict,
    header: dict,
) -> None:
    """Write the model file: the best of each kind travels, the chosen one predicts."""
    kinds: dict[str, Candidate] = {}
    for kind in dict.fromkeys(one.kind for one in found if one.stands and not one.refused):
        kinds[kind] = choose([one for one in found if one.kind == kind], ballot.validated)
    kinds.pop(START, None)  # anybody can fit the probe again; it travels only where it predicts
    kinds[best.kind] = best
    joined = kinds.pop("members", None)
    ensemble = None
    if joined is not None:
        members = [
            Member(
                _with(ballot, name), spec, classes, ballot.judge.page, ballot.calm(name), float(n)
            )
            for name, n in Counter(joined.states).items()
        ]
        temperature = ballot.temperature(joined.states, views)
        ensemble = model.Classifier.of(members, classes, temperature, views, header)
    classifier = ensemble if best is joined else None
    if classifier is None:
        network, page = _with(ballot, best.states[0]), ballot.judge.page
        temperature = ballot.temperature(best.states, views)
        classifier = model.Classifier(network, spec, classes, page, temperature, views, header)
    weights = {kind: ballot.states[one.states[0]] for kind, one in kinds.items()}
    model.save(run.model, weights, classifier, best.kind, ensemble)


def _with(ballot: Trained, name: str) -> nn.Module:
    network = copy.deepcopy(ballot.network)
    network.load_state_dict(ballot.states[name])
    return network


def provenance(recipe: Recipe, data: Dataset, counted: Dataset, facts: dict) -> dict:
    """Say where a model comes from; nothing in it depends on clock, place or machine load.

    Args:
        recipe: as decided.
        data: as the run began with it.
        counted: without what was lost since.
        facts: of the run: "steps".
    """
    counts = {name: int((counted.splits == name).sum()) for name in ("train", "val", "test")}
    return {
        "polyak": __version__,
        "recipe": recipe.model_dump(exclude=ELSEWHERE),
        "data": {"fingerprint": data.fingerprint(), "left_out": len(counted.quarantine), **counts},
        "steps": facts["steps"],
    }
