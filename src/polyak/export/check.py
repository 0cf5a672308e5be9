"""What leaves polyak must say what polyak says, on 64 images, before it gets its name."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from polyak import keys
from polyak.augment import Policy
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.data.sources.unlabelled import list_images
from polyak.decoding.unreadable import Unreadable
from polyak.errors import DataError, RefusedError, counted
from polyak.model import Classifier
from polyak.targets import SINGLE_LABEL

COUNT = 64  # images
TOLERANCE = 1e-4  # of a probability: rounding, not another model
CHUNK = 16  # images a call, at most: exported files take batches of any length
PIXELS = 1 << 22  # a call, or one larger image

Run = Callable[[np.ndarray], np.ndarray]


class Agreement(NamedTuple):
    """How an exported model compares with polyak on the same images.

    Attributes:
        n: images.
        same: of them, how many got the same class.
        difference: the largest of any two probabilities.

    >>> print(Agreement(64, 64, 2.4e-7))
    64 images: the same class on 64, probabilities differ by at most 2.4e-07
    """

    n: int
    same: int
    difference: float

    def __str__(self) -> str:
        apart = f"probabilities differ by at most {self.difference:.1e}"
        return f"{counted(self.n, 'image')}: the same class on {self.same}, {apart}"


def compare(polyak: np.ndarray, other: np.ndarray) -> Agreement:
    """Compare probabilities (N, K); a class whose probability ties with the best is the best, too.

    >>> compare(np.array([[0.75, 0.25]]), np.array([[0.5, 0.5]]))
    Agreement(n=1, same=1, difference=0.25)
    """
    rows = np.arange(len(polyak))
    best, theirs = polyak.max(1), polyak[rows, SINGLE_LABEL.decide(other)]
    same = int((theirs >= best - TOLERANCE).sum())
    return Agreement(len(polyak), same, float(np.abs(polyak - other).max()))


def require(polyak: np.ndarray, other: np.ndarray, what: str) -> Agreement:
    """Compare, and refuse what differs by more than rounding.

    Raises:
        RefusedError: another class, or a probability that differs by more than TOLERANCE.
    """
    found = compare(polyak, other)
    # written so that a number that is none does not pass
    if not (found.same == found.n and found.difference <= TOLERANCE):
        raise RefusedError(
            "the exported model does not say what polyak says",
            where=what,
            why=f"{found}, more than {TOLERANCE:g}",
            kept="nothing was written",
        )
    return found


def samples(classifier: Classifier, data: str | None = None) -> Images:
    """Open the images to check with: up to 64 of a folder, else made-up ones of four sizes.

    Raises:
        DataError: none there, or none can be read.
    """
    if data is None:
        return Images.of(made_up(classifier.preprocessing.size))
    files = list_images([data])
    chosen = keys.permutation("export", 0, 0, len(files))[:COUNT]
    images = classifier.opened([files[i] for i in sorted(chosen)])
    failed, readable = dict(images.failed), []
    for position in images.good.tolist():
        try:
            images[position]
            readable.append(position)
        except Unreadable as error:
            failed[position] = error.reason
    if not readable:
        position, reason = min(failed.items())
        raise DataError("no image can be read", where=images.source.place(position), why=reason)
    return images.take(readable)


def made_up(size: tuple[int, int]) -> list[np.ndarray]:
    """Make 64 images of blocks and noise, smaller and larger than a network's: uint8 (H, W, 3).

    >>> {image.shape for image in made_up((8, 8))} == {(8, 8, 3), (7, 20, 3), (17, 8, 3),
    ...                                                    (21, 12, 3)}
    True
    """
    h, w = size
    sizes = (h, w), (h - 1, 5 * w // 2), (2 * h + 1, w), (21 * h // 8, 3 * w // 2)
    draw, made = np.random.default_rng(0), []
    for number in range(COUNT):
        height, width = sizes[number % len(sizes)]
        blocks = draw.integers(0, 200, (4, 4, 3))
        rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
        noise = draw.integers(0, 56, (height, width, 3))
        made.append((blocks[rows][:, columns] + noise).astype(np.uint8))
    return made


def said_of(images: Images, run: Run) -> np.ndarray:
    """Run a model on uint8 (n, H, W, 3) batches of images of one size: (N, K), in their order."""
    parts: dict[int, np.ndarray] = {}
    for positions in _alike(images):
        batch = np.stack([images[i] for i in positions])
        parts.update(zip(positions, run(batch), strict=True))
    return np.stack([parts[i] for i in range(len(images))])


def said_bare(classifier: Classifier, images: Images, run: Run) -> np.ndarray:
    """Run a model on prepared float32 (n, 3, h, w) batches of images: (N, K), in their order."""
    member = next(m for m in classifier.members if m.weight > 0)
    size, mean, std, fraction, _ = member.preprocessing
    loader = Loader(
        images, np.zeros(len(images), np.int64), Policy.centre(fraction), size=size, mean=mean,
        std=std, batch_size=CHUNK, seed=0, threads=1, shuffle=False,
    )  # fmt: skip
    return np.concatenate([run(np.ascontiguousarray(b.images)) for b in loader.epoch(0)])


def _alike(images: Images) -> Iterator[list[int]]:
    for size in np.unique(images.sizes, axis=0):
        found = np.flatnonzero((images.sizes == size).all(1)).tolist()
        step = max(1, min(CHUNK, PIXELS // int(size.prod())))
        yield from (found[i : i + step] for i in range(0, len(found), step))
