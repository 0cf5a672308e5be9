"""The end of a run: choose on validation, fit the temperature, measure, write the model file."""

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save_file
from torch import Tensor

from polyak import __version__, metrics, model
from polyak.data.dataset import Dataset
from polyak.data.table import write_table
from polyak.files import write_atomic
from polyak.train.judge import Judge, scores
from polyak.train.learner import Learner
from polyak.train.recipe import Recipe
from polyak.train.run import Run

# what does not change the model, or tells of its maker's disk
ELSEWHERE = {"out", "name", "threads", "memory", "save_every", "device", "data"}


@dataclass(frozen=True)
class Candidate:
    """Hold one way to end a run: its weights and what they say of the validation part."""

    kind: str
    state: dict[str, Tensor]
    logs: np.ndarray
    labels: np.ndarray

    @property
    def score(self) -> tuple[float, float]:
        """Accuracy, then NLL with the sign turned: higher is better."""
        accuracy, nll = scores(self.logs, self.labels) if len(self.labels) else (0.0, 0.0)
        return accuracy, -nll


def candidates(learner: Learner, judge: Judge) -> list[Candidate]:
    """Collect average, raw and best weights; one view of the validation part tells them apart."""
    network, found = learner.network, []

    def collect(kind: str) -> None:
        state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        nothing = np.zeros((0, 1), np.float32), np.zeros(0, np.int64)
        logs, labels = judge.predict(network, "val", "one") if "val" in judge.data else nothing
        found.append(Candidate(kind, state, logs, labels))

    if learner.average is not None:
        with judge.averaged(learner):
            collect("average")
    collect("weights")
    if judge.best is not None:
        network.load_state_dict(judge.best)
        collect("best")
    return found


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
    found = candidates(learner, judge)
    best = max(found, key=lambda candidate: candidate.score)  # of equals the first: the average
    learner.network.load_state_dict(best.state)
    held_out = [split for split in ("val", "test") if split in judge.data]
    parts = {split: judge.predict(learner.network, split, views) for split in held_out}
    temperature = metrics.fit_temperature(*parts["val"]) if "val" in parts else 1.0
    measured, confused = None, []
    for split, (logs, labels) in parts.items():
        probabilities = metrics.softmax(logs, temperature)
        write_predictions(run, split, judge, probabilities, labels)
        measured = {"split": split, **metrics.evaluate(probabilities, labels).as_json()}
        matrix = metrics.confusion_matrix(probabilities.argmax(1), labels, len(data.classes))
        confused = [list(pair) for pair in metrics.most_confused(matrix, data.classes)]
    classifier = model.Classifier(
        learner.network, facts["spec"], data.classes, judge.page, temperature, views,
        provenance(recipe, data, facts) | {"evaluation": measured},
    )  # fmt: skip
    weights = {candidate.kind: candidate.state for candidate in found}
    model.save(run.model, weights, classifier, best.kind)
    return {
        "kind": "end",
        "chosen": best.kind,
        "candidates": {c.kind: {"accuracy": c.score[0], "nll": -c.score[1]} for c in found},
        "evaluation": measured,
        "confused": confused,
        "temperature": temperature,
        "left_out": len(data.quarantine),
        "model": str(run.model),
    }


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
    run: Run, split: str, judge: Judge, probabilities: np.ndarray, labels: np.ndarray
) -> None:
    """Write what the model says of a split: a table for people, all numbers for programs."""
    part = judge.data[split].dataset
    guesses = probabilities.argmax(1)
    paths = [part.paths[position] for position in judge.read[split]]
    rows = [
        (path, part.classes[label], part.classes[guess], f"{row[guess]:.6f}")
        for path, label, guess, row in zip(paths, labels, guesses, probabilities, strict=True)
    ]
    header = ["path", "label", "predicted", "probability"]
    write_table(run.predictions / f"{split}.csv", header, rows)
    tensors = {"probabilities": probabilities, "labels": labels}
    file = run.predictions / f"{split}.safetensors"
    write_atomic(file, lambda temporary: save_file(tensors, temporary))
