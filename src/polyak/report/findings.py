"""What a run's predictions show: confusion, classes, trust, mistakes; numbers only."""

from dataclasses import dataclass

import numpy as np

from polyak import metrics
from polyak.metrics.probabilities import TINY
from polyak.report.gather import Answers, Facts
from polyak.targets import SINGLE_LABEL

MATRIX = 30  # classes that a confusion matrix can be read with
TILES = 18  # images a gallery
WORST = 20  # pairs of classes, where the matrix would be too large


@dataclass(frozen=True)
class Mistake:
    """Hold one image that the model and its label disagree about."""

    path: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Findings:
    """Hold what the predictions of one split show.

    Args:
        split: of which images.
        figures: accuracy, nll, ece with intervals.
        matrix: int (K, K), a row a true class.
        pairs: the most frequent confusions.
        classes: precision, recall and number of images of each class.
        before: reliability at temperature 1.
        after: reliability as the model predicts.
        surest: mistakes, the most confident first.
        suspects: images whose label is worth checking, given the accuracy in `figures`.
    """

    split: str
    figures: metrics.Evaluation
    matrix: np.ndarray
    pairs: list[metrics.Confusion]
    classes: metrics.PerClass
    before: metrics.Reliability
    after: metrics.Reliability
    surest: list[Mistake]
    suspects: list[Mistake]


def findings(facts: Facts) -> Findings | None:
    """Work out what the predictions of the judged split show; None where nothing was held out."""
    answers = facts.answers.get(facts.judged)
    if answers is None or answers.several or not len(answers.labels):
        return None
    p, labels, names = answers.probabilities, answers.labels, facts.classes
    guesses = SINGLE_LABEL.decide(p)
    matrix = metrics.confusion_matrix(guesses, labels, len(names))
    # the stored probabilities are softmax(logits / T): to the power of T they are as before
    logs = np.maximum(p, TINY)  # in place from here: of 1,000 classes every copy counts
    np.log(logs, out=logs)
    logs *= float(facts.end.get("temperature", 1.0))
    wrong = np.flatnonzero(guesses != labels)
    surest = wrong[np.argsort(-p[wrong, guesses[wrong]], kind="stable")][:TILES]
    return Findings(
        facts.judged,
        SINGLE_LABEL.evaluate(p, labels),
        matrix,
        metrics.most_confused(matrix, names, WORST),
        metrics.per_class(matrix),
        metrics.reliability(SINGLE_LABEL.probabilities(logs), labels),
        metrics.reliability(p, labels),
        [_mistake(answers, int(i), names) for i in surest],
        [_mistake(answers, int(i), names) for i in metrics.suspects(p, labels)[:TILES]],
    )


def _mistake(answers: Answers, i: int, names: list[str]) -> Mistake:
    guess = int(SINGLE_LABEL.decide(answers.probabilities[i]))
    sure = float(answers.probabilities[i, guess])
    return Mistake(answers.paths[i], names[answers.labels[i]], names[guess], sure)
