"""Decoded images: kept in memory when they fit, else decoded from their files each time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from polyak import machine
from polyak.data.dataset import Dataset
from polyak.data.scan import digest
from polyak.data.sources.files import Files
from polyak.data.sources.made import Made
from polyak.data.sources.source import Source
from polyak.decoding.decode import decode
from polyak.decoding.header import read_header
from polyak.decoding.notes import quiet
from polyak.decoding.turns import turn
from polyak.decoding.unreadable import PIXEL_CAP, Unreadable

_CHUNK = 64


@dataclass(frozen=True)
class Decoding:
    """How files become pixels, as arguments of `decode`.

    Args:
        pixel_cap: the most pixels that an image may have.
        min_size: (height, width) that large JPEGs may be shrunk to.
        bits: of 16 that grey images of 16 bits are scaled by.

    >>> Decoding().bits
    16
    """

    pixel_cap: int = PIXEL_CAP
    min_size: tuple[int, int] | None = None
    bits: int = 16


class Images:
    """Give the images of a data set as uint8 (H, W, 3), by position.

    Make one with `Images.open` (files) or `Images.of` (pixels already in memory).

    Args:
        source: bytes and names by position.
        sizes: int64 (n, 2), upright (height, width).
        starts: int64 (n,), where each image begins in `pixels`; -1 for those not kept.
        pixels: uint8, all kept images one after another.
        decoding: how files become pixels; None: there are no files, the pixels were made.
        digests: uint64 (n, 2), a hash of each file's bytes that they must still have; None checks
            nothing.

    `lost` names the files that could not be read since: name -> reason, shared with all that is
    taken of these images.

    >>> images = Images.of(np.zeros((2, 4, 5, 3), np.uint8))
    >>> len(images), images[1].shape, images.kept
    (2, (4, 5, 3), 2)
    """

    def __init__(
        self,
        source: Source,
        sizes: np.ndarray,
        starts: np.ndarray,
        pixels: np.ndarray,
        decoding: Decoding | None = None,
        digests: np.ndarray | None = None,
    ):
        self.source: Source = source
        self.sizes = sizes
        self.made: bool = decoding is None
        self.decoding: Decoding = decoding or Decoding()
        self.failed: list[tuple[int, str]] = []
        self.lost: dict[str, str] = {}
        self._digests = digests
        self._starts, self._pixels = starts, pixels
        self._stride = 0
        if len(sizes) and (sizes == sizes[0]).all():
            self._stride = int(sizes[0].prod()) * 3

    @classmethod
    def open(
        cls,
        source: Dataset | Source | Sequence[str | Path],
        threads: int | None = None,
        budget: int | None = None,
        pixel_cap: int | None = None,
        min_size: tuple[int, int] | None = None,
        bits: int | None = None,
    ) -> "Images":
        """Decode as many images as fit the budget; `failed` then lists (position, reason).

        Args:
            source: a data set, a source, or paths.
            threads: how many files at once; default one a processor.
            budget: bytes of decoded images to keep; default a quarter of the available memory.
            pixel_cap: the most pixels that an image may have; default as the data set was scanned.
            min_size: (height, width) that large JPEGs may be shrunk to while decoding, in whole
                powers of two; `sizes` then are the smaller ones. The same whether kept or not.
            bits: of 16 that grey images of 16 bits are scaled by; default what the data set uses.
        """
        threads = threads or machine.cores()
        if isinstance(source, Dataset):
            files = source.source
            pixel_cap, bits = pixel_cap or source.pixel_cap, bits or source.bits
            sizes, digests = source.sizes.copy(), source.digests
            large = sizes >= 2 * np.array(min_size or (1 << 40, 1)) - 1
            unsure = np.flatnonzero(large.all(1))
        else:
            files = Files(".", list(map(str, source))) if isinstance(source, Sequence) else source
            pixel_cap = pixel_cap or PIXEL_CAP
            sizes, digests = np.zeros((len(files), 2), np.int64), None
            unsure = np.arange(len(files))
        failed = _measure(files, unsure, sizes, threads, (pixel_cap, min_size))
        lengths = sizes.prod(1) * 3
        ends = np.cumsum(lengths)
        kept = int(
            np.searchsorted(ends, machine.memory() // 4 if budget is None else budget, side="right")
        )
        starts = np.full(len(files), -1)
        starts[:kept] = ends[:kept] - lengths[:kept]
        pixels = np.empty(int(ends[kept - 1]) if kept else 0, np.uint8)
        decoding = Decoding(pixel_cap, min_size, bits or 16)
        images = cls(files, sizes, starts, pixels, decoding, digests)
        images.failed = sorted({**dict(images._fill(kept, threads)), **dict(failed)}.items())
        return images

    @classmethod
    def of(cls, pixels: np.ndarray | Sequence[np.ndarray]) -> "Images":
        """Take images from memory, called by number: uint8 (n, H, W, 3), or n of (H, W, 3).

        >>> Images.of([np.zeros((4, 5, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)]).sizes.tolist()
        [[4, 5], [2, 3]]
        """
        sizes = np.array([image.shape[:2] for image in pixels], np.int64).reshape(-1, 2)
        lengths = sizes.prod(1) * 3
        if isinstance(pixels, np.ndarray):
            flat = np.ascontiguousarray(pixels).reshape(-1)
        else:
            flat = np.concatenate([np.zeros(0, np.uint8), *(image.reshape(-1) for image in pixels)])
        return cls(Made(range(len(sizes))), sizes, np.cumsum(lengths) - lengths, flat)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def kept(self) -> int:
        """How many images are in memory."""
        return int((self._starts >= 0).sum())

    @property
    def uniform(self) -> bool:
        """Whether all images have one size, so that `block` works."""
        return self._stride > 0

    @property
    def good(self) -> np.ndarray:
        """Positions of the images that did not fail: int64."""
        return np.setdiff1d(np.arange(len(self)), [position for position, _ in self.failed])

    def take(self, positions: ArrayLike) -> "Images":
        """Keep some positions, in their order, sharing the memory."""
        chosen = np.asarray(positions)
        source, sizes = self.source.take(chosen.tolist()), self.sizes[chosen]
        starts, decoding = self._starts[chosen], None if self.made else self.decoding
        digests = None if self._digests is None else self._digests[chosen]
        taken = Images(source, sizes, starts, self._pixels, decoding, digests)
        taken.lost = self.lost
        return taken

    def scaled_by(self, bits: int) -> "Images":
        """Give the same images scaled by other bits, as another model wants them: none is kept.

        >>> images = Images.of(np.zeros((2, 4, 5, 3), np.uint8))
        >>> images.scaled_by(12) is images  # made in memory, of 8 bits
        True
        """
        if self.made or bits == self.decoding.bits:
            return self
        other = self.take(np.arange(len(self)))
        other.decoding, other.failed = replace(self.decoding, bits=bits), self.failed
        other._starts = np.full(len(self), -1)
        return other

    def keeps(self, position: int) -> bool:
        """Tell whether an image is in memory."""
        return bool(self._starts[position] >= 0)

    def turn(self, position: int) -> AbstractContextManager[None]:
        """Wait until an image may be decoded, and hold that turn while it is used."""
        return nullcontext() if self.keeps(position) else turn(int(self.sizes[position].prod()))

    def __getitem__(self, position: int) -> np.ndarray:
        """Give one image: uint8 (H, W, 3), not to be written to.

        Raises:
            Unreadable: the file cannot be decoded, or is no longer what it was.
        """
        height, width = self.sizes[position].tolist()
        start = self._starts[position]
        if start >= 0:
            return self._pixels[start : start + height * width * 3].reshape(height, width, 3)
        try:
            return self._decoded(position)
        except Unreadable as error:
            self.lost.setdefault(self.source.keys[position], error.reason)
            raise

    def block(self, positions: np.ndarray) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Give images of one size: uint8 (n, H, W, 3), and (row, reason) where one failed."""
        height, width = self.sizes[0].tolist()
        starts = self._starts[positions]
        if (starts >= 0).all() and not (starts % self._stride).any():
            whole = self._pixels.size // self._stride * self._stride
            packed = self._pixels[:whole].reshape(-1, height, width, 3)
            return packed[starts // self._stride], []
        out, failed = np.zeros((len(positions), height, width, 3), np.uint8), []
        for row, position in enumerate(positions):
            try:
                out[row] = self[position]
            except Unreadable as error:
                failed.append((row, error.reason))
        return out, failed

    def _decoded(self, position):
        data = self.source.read(position)
        pixels = decode(data, self.decoding.pixel_cap, self.decoding.min_size, self.decoding.bits)
        if pixels.shape[:2] != tuple(self.sizes[position]):
            raise Unreadable("the file has changed since the scan: another size")
        if self._digests is not None and (digest(data) != self._digests[position]).any():
            raise Unreadable("the file has changed since the scan: another content")
        return pixels

    def _fill(self, kept, threads):
        failed = []

        def fill(first):
            for i in range(first, min(first + _CHUNK, kept)):
                try:
                    with turn(int(self.sizes[i].prod())):
                        self[i][:] = self._decoded(i)
                except Unreadable as error:
                    failed.append((i, error.reason))

        with quiet(), ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, range(0, kept, _CHUNK)))
        return failed


def _measure(source, positions, sizes, threads, limits):
    """Write the size that each image will have decoded; return those that failed."""
    pixel_cap, min_size = limits
    failed = []

    def measure(i):
        try:
            _, sizes[i] = read_header(source.read(i), pixel_cap).shrunk(min_size)
        except Unreadable as error:
            failed.append((i, error.reason))

    with quiet(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(measure, positions.tolist(), chunksize=_CHUNK))
    return failed
