"""The images that a model may be judged by: those of some data that it was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polyak.data.dataset import Dataset
from polyak.data.scan import scan
from polyak.data.sources import ClassesFrom, find
from polyak.data.sources.label_columns import SEPARATOR
from polyak.decoding.unreadable import PIXEL_CAP
from polyak.errors import DataError, UsageError, counted
from polyak.metrics import Coverage, Evaluation
from polyak.model.known_splits import known_splits
from polyak.targets import SINGLE_LABEL, TargetKind


@dataclass(frozen=True)
class LabelledData:
    """Name images with labels, as they were asked for.

    Args:
        data: folder, CSV or `digits`; classes are matched by name, in whatever order.
        split: None leaves out what a model was trained on, and takes `test` where the data has
            one. `val` or `test` takes what the models' runs or the data call so, without what
            they were trained on; `train` what the runs call so, and of images that these do not
            know the data.
        classes_from: which folder names the class, `top` or `leaf`.
        label_separator: between labels in a table's column `labels`.

    >>> LabelledData("digits").split is None
    True
    """

    data: str
    split: str | None = None
    classes_from: ClassesFrom = "auto"
    label_separator: str = SEPARATOR


@dataclass(frozen=True)
class Counts:
    """What became of the files of some data: found = measured + trained_on + other_splits +
    unreadable.

    Args:
        found: files.
        measured: images that figures are of.
        trained_on: images left out, for the model was trained on them.
        other_splits: images of splits that were not asked for.
        unreadable: files that are no images, or damaged.
        validation: of the measured, those that chose and calibrated the model.
        training: of the measured, those that it was trained on (asked for with `train`).
        unknown: why it is not known what the model was trained on, "" where it is.

    >>> Counts(10, 4, 6, 0, 0, 4, 0).line()
    '10 files found = 4 measured + 6 left out (the model was trained on them)'
    """

    found: int
    measured: int
    trained_on: int
    other_splits: int
    unreadable: int
    validation: int
    training: int
    unknown: str = ""

    def line(self) -> str:
        """Account for every file."""
        parts = (
            (self.trained_on, "left out (the model was trained on them)"),
            (self.other_splits, "of other splits"),
            (self.unreadable, "unreadable"),
        )
        rest = "".join(f" + {number} {what}" for number, what in parts if number)
        return f"{counted(self.found, 'file')} found = {self.measured} measured{rest}"

    def notes(self) -> list[str]:
        """Say what to bear in mind when the figures are read, a line each."""
        found = []
        if self.unknown:
            found.append(
                f"not all images that the model was trained on are known: {self.unknown}; where "
                "some of them are measured, the figures are too good"
            )
        if self.training:
            found.append(
                f"the model was trained on {self.training} of the measured images: the figures say "
                "what it remembers, not how good it is on others"
            )
        if self.validation:
            found.append(
                f"{counted(self.validation, 'measured image')} of validation also chose and "
                "calibrated the model: the figures are optimistically biased"
            )
        return found


@dataclass(frozen=True)
class HeldOutEvaluation(Evaluation):
    """Figures of a model, which images they are of, and what to bear in mind.

    >>> from polyak.metrics import Estimate
    >>> figure, counts = Estimate(0.5, 0.25, 0.75), Counts(4, 4, 0, 0, 0, 0, 0)
    >>> sorted(HeldOutEvaluation(figure, figure, figure, 4, counts, ()).as_json())
    ['accuracy', 'ece', 'images', 'n', 'nll', 'notes']
    """

    images: Counts
    notes: tuple[str, ...]
    coverage: Coverage | None = None

    def as_json(self) -> dict[str, Any]:
        """Give plain dictionaries and numbers; nothing of sets where none were asked for."""
        return super().as_json()


@dataclass(frozen=True)
class HeldOut:
    """Hold the images to measure a model on.

    Args:
        dataset: n images.
        splits: (n,), what each was in training: "train", "val", "test", or "" where nothing.
        training: images of the same data that the model was trained on or that the data has for
            training, maybe none.
        counts: what became of all files.
    """

    dataset: Dataset
    splits: np.ndarray
    training: Dataset
    counts: Counts

    def read(self, positions: np.ndarray) -> "HeldOut":
        """Keep the images at some positions: those that could be read."""
        splits, n = self.splits[positions], len(positions)
        counts = replace(
            self.counts,
            measured=n,
            unreadable=self.counts.unreadable + len(self.splits) - n,
            validation=int((splits == "val").sum()),
            training=int((splits == "train").sum()),
        )
        return HeldOut(self.dataset.take(positions), splits, self.training, counts)

    def by(self, kind: TargetKind) -> "HeldOut":
        """Decide as a model does: by its thresholds, where images have several labels."""
        return replace(self, dataset=replace(self.dataset, kind=kind))

    def evaluation(self, probabilities: np.ndarray) -> HeldOutEvaluation:
        """Measure what a model says of the images: (n, K)."""
        labels, classes = self.dataset.labels, self.dataset.classes
        measured = self.dataset.kind.figures(probabilities, labels, classes)
        notes, found = (*self.counts.notes(), *measured.cautions), measured.evaluation
        return HeldOutEvaluation(**vars(found), images=self.counts, notes=notes)


def held_out(
    asked: LabelledData,
    classes: tuple[str, ...],
    models: Sequence[str | Path],
    pixel_cap: int = PIXEL_CAP,
    kind: TargetKind = SINGLE_LABEL,
) -> HeldOut:
    """Scan data with labels and keep what some models may be measured on.

    Args:
        asked: which images.
        classes: that the models know.
        models: run directories or model files.
        pixel_cap: the most pixels that an image may have.
        kind: of the models' answers.

    Raises:
        UsageError: that split is not there.
        DataError: a class that the models do not know, or they were trained on all there is, or the
            images have several labels where the models give one.

    >>> held_out(LabelledData("digits", "test"), tuple("9876543210"), []).counts.measured
    359
    """
    data, split = asked.data, asked.split
    everything = _scanned(asked, classes, pixel_cap, kind)
    known = known_splits(models, everything)
    before, own = known.of(everything.digests), everything.splits
    trained = before == "train"
    if split is None:
        wanted = own == "test" if (own == "test").any() else np.ones(len(own), bool)
        kept = wanted & ~trained
    else:
        wanted, used = own == split, np.where(before == "", own, before)
        kept = (used == split) | (wanted & ~trained & (split != "train"))
        if not kept.any():
            names = ", ".join(sorted({*used.tolist()} - {""})) or "none"
            raise UsageError("no such split", where=f"--split {split}", why=f"{data} has {names}")
    left_out = int((wanted & trained & ~kept).sum())
    if not kept.any():
        raise DataError(
            "nothing is left to measure on",
            where=data,
            why=f"the model was trained on all {left_out} images",
            then="name images that it has not seen, or add --split train to see what it remembers",
        )
    n = int(kept.sum())
    counts = Counts(
        found=everything.found,
        measured=n,
        trained_on=left_out,
        other_splits=len(everything) - n - left_out,
        unreadable=len(everything.quarantine),
        validation=0,
        training=0,
        unknown=known.unknown,
    )
    training = everything.take(trained | (own == "train"))
    whole = HeldOut(everything.take(kept), before[kept], training, counts)
    return whole.read(np.arange(n))


def _scanned(
    asked: LabelledData, classes: tuple[str, ...], pixel_cap: int, kind: TargetKind
) -> Dataset:
    """Scan the data; its images must have one label, or several, as the models give them."""
    listing = find(asked.data, asked.classes_from, classes, asked.label_separator)
    found = scan(listing, pixel_cap=pixel_cap, classes=classes)
    if found.kind.several != kind.several:
        one, several = "one label an image", "several labels an image"
        why = f"it has {one}, the model gives several" if kind.several else f"it has {several}"
        raise DataError("the model cannot be measured on this data", where=asked.data, why=why)
    return found
