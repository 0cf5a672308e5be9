"""The data of a run by split: what is known of the images, and their pixels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.targets import TargetKind

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """Hold the images of one split.

    Args:
        dataset: what is known of them.
        images: their pixels, in the same order.

    >>> from polyak.data.scan import scan
    >>> from polyak.data.sources import find
    >>> found = scan(find("digits"))
    >>> len(Part(found, Images.open(found, 1)).take(np.arange(3)))
    3
    """

    dataset: Dataset
    images: Images

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def labels(self) -> np.ndarray:
        """The true classes: int64 (n,)."""
        return self.dataset.labels

    def take(self, positions: np.ndarray) -> "Part":
        """Keep some images, in their order."""
        return Part(self.dataset.take(positions), self.images.take(positions))


@dataclass(frozen=True)
class Splits:
    """Hold all usable images of a source, and its parts.

    Args:
        dataset: all images, split.
        parts: by split; a split without images is left out.
    """

    dataset: Dataset
    parts: dict[str, Part]

    @classmethod
    def of(cls, dataset: Dataset, images: Images) -> "Splits":
        """Take a split data set apart.

        >>> from polyak.data import find, scan, split
        >>> found = split(scan(find("digits")))
        >>> {name: len(part) for name, part in Splits.of(found, Images.open(found, 1))}
        {'train': 1295, 'val': 143, 'test': 359}
        """
        whole = Part(dataset, images)
        positions = {name: np.flatnonzero(dataset.splits == name) for name in SPLITS}
        return cls(dataset, {name: whole.take(at) for name, at in positions.items() if len(at)})

    @property
    def train(self) -> Part:
        """The images to train on."""
        return self.parts["train"]

    @property
    def val(self) -> Part | None:
        """The images to validate on, where there are any."""
        return self.parts.get("val")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.dataset.classes

    @property
    def held_out(self) -> tuple[str, ...]:
        """The splits that are not trained on."""
        return tuple(name for name in ("val", "test") if name in self.parts)

    def counts(self) -> dict[str, int]:
        """Count the images of every split."""
        return {name: int((self.dataset.splits == name).sum()) for name in SPLITS}

    def lost(self) -> dict[str, str]:
        """Name the images that could not be read since they were opened: path -> reason."""
        return {path: why for part in self.parts.values() for path, why in part.images.lost.items()}

    def decoded(self, threads: int, cache_bytes: int) -> "Splits":
        """Keep decoded images in memory, for training that sees them many times.

        Args:
            threads: of decoding.
            cache_bytes: that may be filled.

        Returns:
            The same without what could not be decoded, which is in quarantine.
        """
        lost, free, kept = {}, cache_bytes, {}
        for name, part in self.parts.items():
            if part.images.kept == len(part):  # decoded before
                kept[name] = part
                continue
            images = Images.open(
                part.dataset, threads, free, min_size=part.images.decoding.min_size
            )
            free = max(0, free - int(images.sizes[: images.kept].prod(1).sum()) * 3)
            lost |= {part.dataset.paths[position]: why for position, why in images.failed}
            kept[name] = Part(part.dataset, images).take(images.good)
        return Splits(self.dataset.set_aside(lost), kept)

    def of_kind(self, kind: TargetKind) -> "Splits":
        """Learn another kind of target of the same images."""
        parts = {name: Part(replace(part.dataset, kind=kind), part.images) for name, part in self}
        return Splits(replace(self.dataset, kind=kind), parts)

    def decoded_for(self, min_size: tuple[int, int], threads: int) -> "Splits":
        """Let large JPEGs be shrunk for a network of another size; no image is kept.

        Args:
            min_size: as `Images.open` takes it.
            threads: of reading headers.
        """
        found = {}
        for name, part in self.parts.items():
            images = part.images
            if not images.made and images.decoding.min_size != min_size:
                images = Images.open(part.dataset, threads, 0, min_size=min_size)
                images.lost = part.images.lost  # what is lost is told of all of them
            found[name] = Part(part.dataset, images)
        return Splits(self.dataset, found)

    def __iter__(self) -> Iterator[tuple[str, Part]]:
        return iter(self.parts.items())
