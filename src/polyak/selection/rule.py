"""The rule that chooses which weights predict: here, and nowhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyak import metrics
from polyak.model import WeightKind

RULE = (
    "lowest NLL on validation by one view, of those within one standard error of the highest "
    "accuracy there; the views are chosen beforehand"
)


RULES = {
    "auto": RULE,
    "nll": "lowest NLL on validation by one view",
    "accuracy": "highest accuracy (of several labels mAP) on validation by one view, then NLL",
    "balanced": "highest balanced accuracy on validation by one view, then lowest NLL",
    "f1": "highest macro F1 on validation by one view, then lowest NLL",
}


@dataclass(frozen=True)
class Candidate:
    """One way to end a run: which weights predict, alone or as a mean of probabilities.

    Args:
        name: what tables call it.
        kind: what the model file calls it.
        states: names of its weights in the pool, each as often as it counts in the mean.
        accuracy: on validation, by one view.
        nll: there, nats, at its own temperature.
        share: of the training that it took.
        refused: why it is no candidate after all.
        eligible: whether it may be chosen; else it is measured for comparison.
        travels: whether the model file keeps it where another one predicts.

    >>> Candidate("2 of 3", WeightKind.MEMBERS, ("a", "b", "b")).passes
    2
    """

    name: str
    kind: WeightKind
    states: tuple[str, ...]
    accuracy: float = 0.0
    nll: float = 0.0
    share: float = 1.0
    refused: str = ""
    eligible: bool = True
    travels: bool = True

    @property
    def passes(self) -> int:
        """Forward passes that a prediction takes, by one view."""
        return len(set(self.states))


def choose(candidates: Sequence[Candidate], images: int) -> Candidate:
    """Choose by validation: of those within one standard error of the highest accuracy the one of
    lowest NLL, then of fewest forward passes, then the first.

    Accuracy of a thousand images is a coarse number: its noise would pay five passes for nothing.

    Args:
        candidates: those that were refused or are not eligible do not count.
        images: on validation.

    >>> average = Candidate("average", WeightKind.AVERAGE, ("a",), accuracy=0.90, nll=0.30)
    >>> members = Candidate("2", WeightKind.MEMBERS, ("a", "b"), accuracy=0.91, nll=0.35)
    >>> choose([average, members], 500).name, choose([average, members], 10**6).name
    ('average', '2')
    """
    standing = [one for one in candidates if one.eligible and not one.refused]
    highest = max(one.accuracy for one in standing)
    error = (highest * (1 - highest) / max(1, images)) ** 0.5
    close = [one for one in standing if one.accuracy >= highest - error]
    return min(close, key=lambda one: (one.nll, one.passes))


def choose_by(values: Mapping[str, float], candidates: Sequence[Candidate]) -> Candidate:
    """Choose the candidate of the highest value, then of lowest NLL, then of fewest passes.

    Args:
        values: of each candidate that may be chosen, by name; larger is better.
        candidates: those.

    >>> one = Candidate("a", WeightKind.AVERAGE, ("a",), nll=0.3)
    >>> choose_by({"a": 0.5, "b": 0.6}, [one, Candidate("b", WeightKind.BEST, ("b",))]).name
    'b'
    """
    able = [one for one in candidates if one.name in values]
    return min(able, key=lambda one: (-values[one.name], one.nll, one.passes))


def harmed(before: np.ndarray, after: np.ndarray) -> bool:
    """Tell whether fine-tuning did harm, by two standard errors of validation's NLL: only then may
    the weights that it began with be chosen.

    A few images, on which beginning and end both do well, would choose between them by chance.

    Args:
        before: float (n,), NLL of each validation image at the beginning.
        after: the same at the end.

    >>> harmed(np.zeros(9), np.full(9, 2.0)), harmed(np.full(9, 0.3), np.full(9, 0.4))
    (True, False)
    """
    if not len(before):
        return False
    lost, variance = metrics.paired(after, before)
    return lost > 2 * variance**0.5
