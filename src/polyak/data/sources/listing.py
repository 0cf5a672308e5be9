"""What was found before anything is opened: names, labels, splits."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polyak.data.sources.source import Source
from polyak.errors import DataError, shown

_TRAIN, _TEST = ("train", "training"), ("test", "testing")
_VAL = ("val", "valid", "validation", "dev", "eval", "evaluation")
_MEANS = {"train": _TRAIN, "val": _VAL, "test": _TEST}
_SPLITS = {word: split for split, words in _MEANS.items() for word in words}
# what people write around these words: seg_train, train_images, TestSet, val2017
_AROUND = (
    "set sets data dataset split part images image imgs img images pics photos folder dir seg"
).split()


@dataclass(frozen=True)
class Listing:
    """Name every file that a source offers, with its label, and nothing about its content.

    Args:
        source: gives the bytes of n images, and the names by which tables know them.
        labels: int64 (n,), positions in `classes`; of several labels an image int8 (n, K): 1 where
            it has one, 0 where not, -1 where nobody knows.
        classes: class names in natural order; a class may still be empty.
        splits: (n,) of "train", "val", "test", or "" where the source leaves it open.
        warnings: one line for each thing that the user should know.
        left_out: (path, reason) of images that have no label.
        digests: uint64 (n, 2), the hash that each file must have; None where the source has none.
        groups: (n,) names of groups that no split may part, "" for an image of none; the same.
        absent: of several labels, what is known of one that the source does not name: 0 or -1.

    >>> from polyak.data.sources.files import Files
    >>> files = Files(".", ["a/1.jpg", "b/2.jpg"])
    >>> listing(files, ["a", "b"], ["", ""]).labels.tolist()
    [0, 1]
    """

    source: Source
    labels: np.ndarray
    classes: tuple[str, ...]
    splits: np.ndarray
    warnings: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    digests: np.ndarray | None = None
    groups: np.ndarray | None = None
    absent: int = 0

    def __len__(self) -> int:
        return len(self.source)

    @property
    def root(self) -> object:
        """Where all of it lies, for messages."""
        return self.source.root

    @property
    def paths(self) -> Sequence[str]:
        """Names of the images: files below the source's root."""
        return self.source.keys


def listing(
    source: Source,
    names: Sequence[str],
    splits: Sequence[str],
    warnings: Sequence[str] = (),
    classes: Iterable[str] = (),
    **more: Any,
) -> Listing:
    """Make a Listing from class names: one name and one split for each image of the source.

    `classes` adds classes that no path has (empty folders).

    >>> from polyak.data.sources.files import Files
    >>> listing(Files(".", ["x"]), ["b"], [""], classes=["a"]).classes
    ('a', 'b')
    """
    ordered = sorted({*names, *classes}, key=natural)
    position = {name: i for i, name in enumerate(ordered)}
    labels = np.fromiter((position[name] for name in names), np.int64, len(names))
    lines = [*warnings, *_twins(ordered)]
    return Listing(source, labels, tuple(ordered), np.array(splits, "U5"), lines, **more)


def split_of(name: str) -> tuple[str, str] | None:
    """Read a name as that of a split: (train, val or test; the words that say something else).

    >>> split_of("Training"), split_of("seg_test"), split_of("val2017")
    (('train', ''), ('test', ''), ('val', ''))
    >>> split_of("bullet_train"), split_of("trainer"), split_of("train_val")
    (('train', 'bullet'), None, None)
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # TrainSet
    words = re.findall(r"[^\W\d_]+", apart.casefold())  # digits are a year or a number of a part
    found = {word: split for word in words if (split := _SPLITS.get(_bare(word)))}
    if len(found) != 1:
        return None
    ((word, split),) = found.items()
    return split, " ".join(w for w in words if w != word and w not in _AROUND)


def _bare(word: str) -> str:
    """Take "set" or "images" off a word: trainset."""
    return next((short for w in _AROUND if (short := word.removesuffix(w)) in _SPLITS), word)


def natural(name: str) -> tuple[list[Any], str]:
    """Order names as people do: numbers by their value.

    >>> sorted(["c10", "c9", "C1"], key=natural)
    ['C1', 'c9', 'c10']
    """
    parts = re.split("([0-9]+)", name.casefold())
    parts[1::2] = [(len(digits := part.lstrip("0")), digits) for part in parts[1::2]]
    return parts, name


def refuse_unseen(
    classes: list[str] | tuple[str, ...], labels: np.ndarray, splits: np.ndarray
) -> None:
    """Raise DataError when val or test holds a class that training never sees.

    >>> refuse_unseen(["a", "b"], np.array([0, 1]), np.array(["train", "test"]))
    Traceback (most recent call last):
    ...
    polyak.errors.DataError: test holds a class that train lacks: b. Next: add images of it to \
train, or move the folder out
    """
    used = numbers_used if labels.ndim > 1 else np.unique
    trained = used(labels[(splits == "train") | (splits == "")])
    for part in ("val", "test"):
        unseen = np.setdiff1d(used(labels[splits == part]), trained)
        if len(unseen):
            raise DataError(
                f"{part} holds a class that train lacks",
                where=", ".join(classes[i] for i in unseen[:5]),
                then="add images of it to train, or move the folder out",
            )


def numbers_used(labels: np.ndarray) -> np.ndarray:
    """Give the numbers of the labels that some image has: of int (n, K).

    >>> numbers_used(np.array([[0, 1], [0, -1]])).tolist()
    [1]
    """
    return np.flatnonzero((labels > 0).any(0))


def _twins(classes):
    seen, numbers = {}, {}
    for name in classes:
        number = _number(name)
        if number in numbers:
            first = shown(numbers[number])
            yield f"classes '{first}' and '{shown(name)}' are one number; they are kept apart"
        if number:
            numbers[number] = name
        plain = unicodedata.normalize("NFC", name).strip().casefold()
        if plain in seen:
            yield (
                f"classes '{shown(seen[plain])}' and '{shown(name)}' differ only in case, spaces "
                "or the spelling of accents; they are kept apart"
            )
        seen[plain] = name


def _number(name):
    """Write a number as all its spellings mean it, "" for what is none: 1, 01, 1.0."""
    found = re.fullmatch(r"\s*([+-]?)([0-9]+)(?:\.([0-9]*))?\s*", name)
    if not found:
        return ""
    sign, whole, part = found.groups(default="")
    return f"{sign.replace('+', '')}{whole.lstrip('0') or '0'}.{part.rstrip('0')}"
