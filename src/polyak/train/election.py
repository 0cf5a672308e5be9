"""Which candidate predicts: chosen on validation by a stated rule, measured where nothing chose."""

import numpy as np
from safetensors.numpy import save_file

from polyak import metrics
from polyak.augment.views import policies
from polyak.data.dataset import Dataset
from polyak.data.table import write_table
from polyak.files import write_atomic
from polyak.train.candidates import Ballot, Candidate, choose
from polyak.train.run import Run

RULE = "lowest NLL on validation, of those within one standard error of the highest accuracy there"


def elect(
    run: Run, ballot: Ballot, found: list[Candidate], views: str, every: bool
) -> tuple[Candidate, dict]:
    """Choose a candidate, calibrate and measure it, write its predictions, tell of all.

    Args:
        run: where to write.
        ballot: what the candidates' weights say.
        found: the candidates; of equals the first wins.
        views: test-time views of the model.
        every: measure all candidates with views too, and not only the chosen one.

    Returns:
        (the chosen one, fields of the run's last record).
    """
    standing = [one for one in found if not one.refused]
    best = choose(found, ballot.validated)
    temperature = ballot.temperature(best.states, views)
    judged = {"evaluation": None, "confused": []}
    for split in [split for split in ("val", "test") if split in ballot.parts]:
        said = ballot.measured(best.states, split, views, temperature)
        judged = judge(run, ballot.parts[split].dataset, split, said)
    return best, {
        "chosen": best.name,
        "rule": RULE,
        "candidates": {
            one.name: {"accuracy": one.score[0], "nll": -one.score[1]} for one in standing
        },
        "table": rows(ballot, found, best, views, every),
        **judged,
        "temperature": temperature,
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
    held_out = [split for split in ("test", "val") if split in ballot.parts]
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
                    "passes": len(set(one.states)) * len(policies(looks)),
                    "share": one.share,
                    **metrics.evaluate(*said).as_json(),
                }
            )
    return table


def judge(run: Run, part: Dataset, split: str, said: tuple) -> dict:
    """Write what the model says of a split, (probabilities, labels, positions read); measure it and
    what it confuses most.
    """
    write_predictions(run, part, split, *said)
    probabilities, labels, _ = said
    matrix = metrics.confusion_matrix(probabilities.argmax(1), labels, len(part.classes))
    return {
        "evaluation": {"split": split, **metrics.evaluate(probabilities, labels).as_json()},
        "confused": [list(pair) for pair in metrics.most_confused(matrix, part.classes)],
        "cautions": metrics.cautions(matrix, part.classes),
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
