"""What the predictions of several labels an image show: each label, which go with which, trust."""

from dataclasses import dataclass

import numpy as np

from polyak import metrics
from polyak.metrics import Confusion, Estimate, Evaluation, LabelFigures, Reliability
from polyak.metrics.probabilities import TINY
from polyak.report.gather import Answers, Facts
from polyak.targets import SeveralLabels

MOST = 30  # labels whose calibration is measured, and that a table of pairs can be read with


@dataclass(frozen=True)
class LabelRow:
    """How well one label is told.

    Args:
        name: its own.
        images: that have it.
        threshold: from which probability on it is given.
        average_precision: of its ranking; NaN where no image has it.
        precision: of those that are given it, how many have it; NaN where none is.
        recall: of those that have it, how many are given it.
        f1: of both.
        calibration: error of its probabilities, with its interval; None of many labels.
    """

    name: str
    images: int
    threshold: float
    average_precision: float
    precision: float
    recall: float
    f1: float
    calibration: Estimate | None


@dataclass(frozen=True)
class LabelFindings:
    """Hold what the predictions of one split show.

    Args:
        split: of which images.
        figures: with intervals.
        labels: a row each.
        together: (name, [(images, share)]): of the images that have a label, how many are wrongly
            given each other one; None of many labels.
        pairs: labels that are given in place of others, the most frequent first.
        trust: of all decisions together, how often they are right by how sure they are.
    """

    split: str
    figures: Evaluation
    labels: list[LabelRow]
    together: list[tuple[str, list[tuple[int, float]]]] | None
    pairs: list[Confusion]
    trust: Reliability


def label_findings(facts: Facts) -> LabelFindings | None:
    """Work out what the predictions show; None where images have one label each, or none is held
    out.
    """
    answers = facts.answers.get(facts.judged)
    if answers is None or not answers.several or not len(answers.labels):
        return None
    names, found = facts.classes, facts.end.get("thresholds")
    fits = isinstance(found, list) and len(found) == len(names)
    kind = SeveralLabels(tuple(map(float, found)) if found and fits else None)
    p, labels = answers.probabilities, answers.labels
    measured = kind.figures(p, labels, names)
    logs = np.log(np.maximum(p.astype(np.float64), TINY))
    odds, truth = metrics.as_binary(logs, labels)
    return LabelFindings(
        facts.judged, measured.evaluation, _rows(kind, answers, names),
        _together(kind, answers, names), measured.confusions,
        metrics.reliability(np.exp(odds), truth),
    )  # fmt: skip


def _rows(kind: SeveralLabels, answers: Answers, names: list[str]) -> list[LabelRow]:
    thresholds = np.array(kind.thresholds or [0.5] * len(names))
    p, labels = answers.probabilities, answers.labels
    found = LabelFigures.of(p, labels, thresholds)
    rows = []
    for i, name in enumerate(names):
        known = labels[:, i] >= 0
        trust = None
        if len(names) <= MOST and known.any():
            both = np.column_stack([1 - p[known, i], p[known, i]])
            trust = metrics.evaluate(both, labels[known, i].astype(np.int64)).ece
        figures = (found.average_precision, found.precision, found.recall, found.f1)
        ap, precision, recall, f1 = (float(column[i]) for column in figures)
        images, threshold = int(found.images[i]), float(thresholds[i])
        rows.append(LabelRow(name, images, threshold, ap, precision, recall, f1, trust))
    return rows


def _together(
    kind: SeveralLabels, answers: Answers, names: list[str]
) -> list[tuple[str, list[tuple[int, float]]]] | None:
    if len(names) > MOST:
        return None
    has, given = answers.labels > 0, kind.decide(answers.probabilities) > 0
    extra = has.T.astype(np.int64) @ (given & (answers.labels == 0)).astype(np.int64)
    shares = extra / np.maximum(has.sum(0), 1)[:, None]
    return [
        (name, list(zip(row.tolist(), share.round(3).tolist(), strict=True)))
        for name, row, share in zip(names, extra, shares, strict=True)
    ]
