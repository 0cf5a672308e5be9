"""The images that can be used, what is known about each, and what was left out and why."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from polyak.data.sources.source import Source
from polyak.data.table import write_table
from polyak.decoding.unreadable import PIXEL_CAP
from polyak.errors import counted, shown
from polyak.targets import SINGLE_LABEL, TargetKind, strata

UNEVEN = 5  # times as many images of the largest class as of the smallest are worth a word


@dataclass(frozen=True)
class Dataset:
    """Hold the usable images of a source, in a fixed order.

    Args:
        source: gives the bytes of n images, and the names by which tables know them.
        labels: int64 (n,), positions in `classes`; of several labels an image int8 (n, K): 1 where
            it has one, 0 where not, -1 where nobody knows.
        classes: class names in natural order; each has an image to train on.
        sizes: int64 (n, 2), upright (height, width), pixels.
        digests: uint64 (n, 2), a hash of each file's bytes.
        splits: (n,) of "train", "val", "test", or "" before `split`.
        groups: int64 (n,), one number for images that no split may part, since they look the same
            or the user says so; None where nobody has looked.
        quarantine: (path, reason) of every file that was left out.
        warnings: one line for each thing that the user should know.
        pixel_cap: the most pixels that an image may have.
        bits: of 16 that the grey images of 16 bits use, all of them together.
        named_groups: (n,) names of the user's own groups, "" for an image of none; None where there
            are none.
        kind: what is learned of an image: one label, of `classes`, or several.

    >>> from polyak.data.sources.files import Files
    >>> data = Dataset(Files(".", ["a"]), np.zeros(1, int), ("cat",), np.ones((1, 2), int),
    ...                np.zeros((1, 2), np.uint64), np.array(["test"]))
    >>> len(data), len(data.part("train")), data.found
    (1, 0, 1)
    """

    source: Source
    labels: np.ndarray
    classes: tuple[str, ...]
    sizes: np.ndarray
    digests: np.ndarray
    splits: np.ndarray
    groups: np.ndarray | None = None
    quarantine: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pixel_cap: int = PIXEL_CAP
    bits: int = 16
    named_groups: np.ndarray | None = None
    kind: TargetKind = SINGLE_LABEL

    def __len__(self) -> int:
        return len(self.source)

    @property
    def found(self) -> int:
        """Count every file of the source: used and quarantined."""
        return len(self) + len(self.quarantine)

    @property
    def root(self) -> object:
        """Where all of it lies, for messages."""
        return self.source.root

    @property
    def paths(self) -> Sequence[str]:
        """Names of the images, as tables and splits have them: files below `root`."""
        return self.source.keys

    def take(self, positions: ArrayLike) -> "Dataset":
        """Keep the images at some positions (integers or a boolean mask), in their order."""
        chosen = np.asarray(positions)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        return replace(
            self,
            source=self.source.take(chosen.tolist()),
            labels=self.labels[chosen],
            sizes=self.sizes[chosen],
            digests=self.digests[chosen],
            splits=self.splits[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            named_groups=None if self.named_groups is None else self.named_groups[chosen],
        )

    def part(self, name: str) -> "Dataset":
        """Keep the images of one split."""
        return self.take(self.splits == name)

    def counts(self) -> np.ndarray:
        """Count the images of each class: int64 (K,)."""
        if self.kind.several:
            return (self.labels > 0).sum(0)
        return np.bincount(self.labels, minlength=len(self.classes))

    def shares(self) -> np.ndarray:
        """Give the share of each class among the images: float64 (K,); a class without any counts
        as half an image.
        """
        counts = np.maximum(self.counts(), 0.5)
        return counts / (len(self) if self.kind.several else counts.sum())

    @property
    def strata(self) -> np.ndarray:
        """The class that splits and folds deal each image by: int64 (n,), its label; of several the
        one that the fewest images have, or K where it has none.
        """
        return strata(self.labels)

    @property
    def answers(self) -> np.ndarray:
        """One number for images of the same labels: int64 (n,)."""
        if not self.kind.several:
            return self.labels
        return np.unique(self.labels, axis=0, return_inverse=True)[1].reshape(-1)

    def names(self, image: int) -> list[str]:
        """Name the labels of an image: one, or those of several that it has."""
        if not self.kind.several:
            return [self.classes[int(self.labels[image])]]
        return [self.classes[i] for i in np.flatnonzero(self.labels[image] > 0)]

    def copies(self) -> np.ndarray:
        """Number the images so that exact copies of one class have one number: int64 (n,)."""
        facts = np.column_stack([self.answers.astype(np.uint64), self.digests])
        return np.unique(facts, axis=0, return_inverse=True)[1].reshape(-1)

    def imbalance(self) -> str:
        """Say in one line that the classes to train on are of very different sizes, "" if not.

        >>> from polyak.data.sources.files import Files
        >>> labels = np.repeat([0, 1], [60, 8])
        >>> from polyak.data.sources.files import Files
        >>> data = Dataset(Files(".", ["a"] * 68), labels, ("cat", "dog"), np.ones((68, 2), int),
        ...                np.zeros((68, 2), np.uint64), np.full(68, "train"))
        >>> data.imbalance().split("; ")[0]
        'uneven classes: 60 images of cat, 8 of dog to train on'
        """
        if self.kind.several:
            return ""
        counts = self.take(np.isin(self.splits, ["train", ""])).counts()
        most, least = int(counts.argmax()), int(counts.argmin())
        if counts[most] < UNEVEN * counts[least]:
            return ""
        large, small = shown(self.classes[most]), shown(self.classes[least])
        return (
            f"uneven classes: {counted(counts[most], 'image')} of {large}, {counts[least]} of "
            f"{small} to train on; always answering {large} is right on "
            f"{100 * counts[most] / counts.sum():.0f} %"
        )

    def without(self, failed: Sequence[tuple[int, str]]) -> "Dataset":
        """Move images to quarantine: `failed` lists (position, reason)."""
        if not failed:
            return self
        kept = np.ones(len(self), bool)
        kept[[position for position, _ in failed]] = False
        left_out = [(self.paths[position], reason) for position, reason in failed]
        return replace(self.take(kept), quarantine=[*self.quarantine, *left_out])

    def set_aside(self, lost: dict[str, str]) -> "Dataset":
        """Move images to quarantine that were lost since the scan: `lost` is path -> reason.

        >>> from polyak.data.sources.files import Files
        >>> data = Dataset(Files(".", ["a"]), np.zeros(1, int), ("cat",), np.ones((1, 2), int),
        ...                np.zeros((1, 2), np.uint64), np.array(["test"]))
        >>> after = data.set_aside({"a": "No such file or directory"})
        >>> len(after), after.found
        (0, 1)
        """
        paths = self.paths if lost else []
        return self.without([(i, lost[path]) for i, path in enumerate(paths) if path in lost])

    def fingerprint(self) -> str:
        """Hash names, labels, classes and contents: equal for unchanged data, wherever it lies."""
        hashed = hashlib.sha256()
        for text in (*self.classes, "", *self.paths):
            hashed.update(text.encode("utf-8", "surrogateescape") + b"\0")
        hashed.update(self.labels.astype("<i8").tobytes())
        hashed.update(self.digests.astype("<u8").tobytes())
        return hashed.hexdigest()

    def write_quarantine(self, path: Path) -> None:
        """Write path,reason of every file left out; atomic, safe in spreadsheets."""
        write_table(path, ["path", "reason"], self.quarantine)

    def write_split(self, path: Path) -> None:
        """Write path,label,split,digest of every image, and its group where it has one; atomic,
        safe in spreadsheets, usable as DATA. A digest is the 16 bytes that tell an image wherever
        it lies, in hexadecimal. Of several labels there is a column each, of 1, 0, or nothing.
        """
        digests = (row.tobytes().hex() for row in self.digests.astype("<u8"))
        header, columns = ["path", "split", "digest"], [self.splits, digests]
        if self.kind.several:
            marks = np.array(["0", "1", ""])[self.labels]
            header, columns = [*header, *self.classes], [*columns, *marks.T]
        else:
            header.insert(1, "label")
            columns.insert(0, (self.classes[i] for i in self.labels))
        if self.named_groups is not None:
            header, columns = [*header, "group"], [*columns, self.named_groups]
        write_table(path, header, zip(self.paths, *columns, strict=True))
