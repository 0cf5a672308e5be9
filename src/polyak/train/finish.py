"""The end of a run: choose on validation, fit the temperature, measure, write the model file."""

import copy

import numpy as np
from safetensors.numpy import save_file
from torch import nn

from polyak import __version__, metrics, model
from polyak.augment.views import policies
from polyak.data.dataset import Dataset
from polyak.data.table import write_table
from polyak.files import write_atomic
from polyak.model.member import Member
from polyak.train.candidates import Ballot, Candidate, candidates
from polyak.train.judge import Judge
from polyak.train.learner import Learner
from polyak.train.recipe import Recipe
from polyak.train.run import Run

# what does not change the model, or tells of its maker's disk
ELSEWHERE = {"out", "name", "threads", "memory", "save_every", "device", "data"}


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
        facts: of this run: "spec" of the network, "steps".
    """
    views = recipe.views or "one"
    ballot, found = candidates(learner, judge, [share for share in recipe.average if share])
    standing = [one for one in found if not one.refused]
    best = max(standing, key=lambda one: one.score)  # of equals the first: the average
    temperature = ballot.temperature(best.states, views)
    measured, confused = None, []
    for split in [split for split in ("val", "test") if split in judge.data]:
        said = ballot.measured(best.states, split, views, temperature)
        write_predictions(run, judge.data[split].dataset, split, *said)
        measured = {"split": split, **metrics.evaluate(*said[:2]).as_json()}
        matrix = metrics.confusion_matrix(said[0].argmax(1), said[1], len(data.classes))
        confused = [list(pair) for pair in metrics.most_confused(matrix, data.classes)]
    table = rows(ballot, found, best, views, every=recipe.ensemble is not None)
    header = provenance(recipe, data, facts) | {"evaluation": measured, "table": table}
    write_model(run, ballot, standing, best, data.classes, views, facts["spec"], header)
    return {
        "kind": "end",
        "chosen": best.name,
        "candidates": {
            one.name: {"accuracy": one.score[0], "nll": -one.score[1]} for one in standing
        },
        "table": table,
        "evaluation": measured,
        "confused": confused,
        "temperature": temperature,
        "left_out": len(data.quarantine),
        "model": str(run.model),
    }


def rows(
    ballot: Ballot, found: list[Candidate], best: Candidate, views: str, every: bool
) -> list[dict]:
    """Measure every candidate, on `test` where it exists and else on validation, which also chose.

    Args:
        ballot: what the candidates' weights say.
        found: the candidates.
        best: the chosen one.
        views: test-time views of the model.
        every: measure all of them with views too, and not only the chosen one.

    Returns:
        Rows with name, split, views, passes, share of the training, accuracy, nll, ece; or with
        name and the reason why it was refused.
    """
    held_out = [split for split in ("test", "val") if split in ballot.judge.data]
    table = []
    for one in found if held_out else []:
        if one.refused:
            table.append({"name": one.name, "refused": one.refused})
            continue
        shown = ("one", views) if every or one is best else ("one",)
        for looks in dict.fromkeys(shown):
            temperature = ballot.temperature(one.states, looks)
            said = ballot.measured(one.states, held_out[0], looks, temperature)[:2]
            table.append(
                {
                    "name": one.name,
                    "chosen": one is best and looks == views,
                    "split": held_out[0],
                    "views": looks,
                    "passes": len(one.states) * len(policies(looks)),
                    "share": one.share,
                    **metrics.evaluate(*said).as_json(),
                }
            )
    return table


def write_model(
    run: Run,
    ballot: Ballot,
    standing: list[Candidate],
    best: Candidate,
    classes: tuple[str, ...],
    views: str,
    spec: dict,
    header: dict,
) -> None:
    """Write the model file: the best of each kind travels, the chosen one predicts."""
    kinds: dict[str, Candidate] = {}
    for one in standing:
        if one.kind not in kinds or one.score > kinds[one.kind].score:
            kinds[one.kind] = one
    kinds[best.kind] = best
    joined = kinds.pop("members", None)
    ensemble = None
    if joined is not None:
        members = [
            Member(_with(ballot, name), spec, classes, ballot.judge.page) for name in joined.states
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


def _with(ballot: Ballot, name: str) -> nn.Module:
    network = copy.deepcopy(ballot.network)
    network.load_state_dict(ballot.states[name])
    return network


def provenance(recipe: Recipe, data: Dataset, facts: dict) -> dict:
    """Say where a model comes from; nothing in it depends on clock, place or machine load."""
    counts = {name: int((data.splits == name).sum()) for name in ("train", "val", "test")}
    return {
        "polyak": __version__,
        "recipe": recipe.model_dump(exclude=ELSEWHERE),
        "data": {"fingerprint": data.fingerprint(), "left_out": len(data.quarantine), **counts},
        "steps": facts["steps"],
    }


def write_predictions(
    run: Run,
    part: Dataset,
    split: str,
    probabilities: np.ndarray,
    labels: np.ndarray,
    read: np.ndarray,
) -> None:
    """Write what the model says of a split: a table for people, all numbers for programs."""
    guesses = probabilities.argmax(1)
    paths = [part.paths[position] for position in read]
    rows = [
        (path, part.classes[label], part.classes[guess], f"{row[guess]:.6f}")
        for path, label, guess, row in zip(paths, labels, guesses, probabilities, strict=True)
    ]
    header = ["path", "label", "predicted", "probability"]
    write_table(run.predictions / f"{split}.csv", header, rows)
    tensors = {"probabilities": probabilities, "labels": labels}
    file = run.predictions / f"{split}.safetensors"
    write_atomic(file, lambda temporary: save_file(tensors, temporary))
