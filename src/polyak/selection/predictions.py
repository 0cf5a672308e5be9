"""What the chosen weights predict of one split: measured, and written for people and programs."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from polyak.data.dataset import Dataset
from polyak.data.table import write_table
from polyak.files import write_atomic
from polyak.targets import Figures, SeveralLabels, TargetKind


@dataclass(frozen=True)
class SplitPredictions:
    """Hold a model's predictions of the images of a split.

    Args:
        split: "val", "test" or "oof": each image by a model that did not see it.
        dataset: all images of the split.
        probabilities: float (n, K), of those that could be read.
        labels: int (n,), theirs.
        positions: int (n,), where they stand in the dataset.
        folds: int (n,), the fold of each; None where there are none.

    >>> from polyak.data.sources.files import Files
    >>> two = Dataset(Files(".", ["a", "b"]), np.arange(2), ("cat", "dog"), np.ones((2, 2), int),
    ...               np.zeros((2, 2), np.uint64), np.array(["val", "val"]))
    >>> odds = np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> SplitPredictions("val", two, odds, two.labels, np.arange(2)).figures.confusions
    [Confusion(truth='dog', taken_for='cat', images=1, share=1.0)]
    """

    split: str
    dataset: Dataset
    probabilities: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    folds: np.ndarray | None = None

    def by(self, kind: TargetKind) -> "SplitPredictions":
        """Decide by thresholds that held-out images chose."""
        return replace(self, dataset=replace(self.dataset, kind=kind))

    @cached_property
    def figures(self) -> Figures:
        """How good the predictions are."""
        return self.dataset.kind.figures(self.probabilities, self.labels, self.dataset.classes)

    def write(self, folder: Path) -> None:
        """Write a table for people and all numbers for programs, named by the split.

        Raises:
            DiskError: the disk refused.
        """
        header, rows = self._rows()
        if self.folds is not None:
            header = [*header, "fold"]
            rows = [(*row, int(fold)) for row, fold in zip(rows, self.folds, strict=True)]
        write_table(folder / f"{self.split}.csv", header, rows)
        tensors = {"probabilities": self.probabilities, "labels": self.labels}
        file = folder / f"{self.split}.safetensors"
        write_atomic(file, lambda temporary: save_file(tensors, temporary))

    def _rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        predicted, classes = self.dataset.kind.decide(self.probabilities), self.dataset.classes
        paths = [self.dataset.paths[position] for position in self.positions]
        answers = zip(paths, self.labels, predicted, self.probabilities, strict=True)
        if self.dataset.kind.several:
            names = lambda marks: ";".join(classes[i] for i in np.flatnonzero(marks > 0))  # noqa: E731
            odds = lambda row: (f"{p:.6f}" for p in row)  # noqa: E731
            rows = [
                (path, names(true), names(guess), *odds(row)) for path, true, guess, row in answers
            ]
            return ["path", "labels", "predicted", *classes], rows
        rows = [
            (path, classes[label], classes[guess], f"{row[guess]:.6f}")
            for path, label, guess, row in answers
        ]
        return ["path", "label", "predicted", "probability"], rows


def measured_by(last: SplitPredictions | None) -> dict[str, Any]:
    """Give what a run's last event tells of the split that was measured last.

    Args:
        last: its predictions; None where nothing was held out.

    >>> measured_by(None)
    {'evaluation': None, 'confused': [], 'cautions': []}
    """
    if last is None:
        return {"evaluation": None, "confused": [], "cautions": []}
    found, kind = last.figures.as_json(last.split), last.dataset.kind
    if isinstance(kind, SeveralLabels):
        found["thresholds"] = kind.thresholds and list(kind.thresholds)
    return found
