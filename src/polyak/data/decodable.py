"""Which images can be decoded: a header may be whole where the rest is not."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.decoding.notes import quiet
from polyak.decoding.unreadable import Unreadable
from polyak.errors import DataError

_CHUNK = 64


def decodable(data: Dataset, threads: int | None = None) -> Dataset:
    """Decode every image once, as training would, and set aside those that cannot be.

    Args:
        data: a scanned data set.
        threads: how many files at once; default one a processor.

    Raises:
        DataError: no image of a class can be read.

    >>> from polyak.data.scan import scan
    >>> from polyak.data.sources import find
    >>> len(decodable(scan(find("digits"))))
    1797
    """
    images = Images.open(data, threads, budget=0)

    def attempt(start: int) -> None:
        for position in range(start, min(start + _CHUNK, len(images))):
            with suppress(Unreadable):  # the images keep the reason
                images[position]

    with quiet(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(attempt, range(0, len(images), _CHUNK)))
    left = data.set_aside(images.lost)
    check_classes(left)
    return left


def check_classes(data: Dataset) -> None:
    """Refuse a data set of which no image of a class can be read.

    Raises:
        DataError: with the class.

    >>> from polyak.data.scan import scan
    >>> from polyak.data.sources import find
    >>> check_classes(scan(find("digits")))
    """
    for number in np.flatnonzero(data.counts() == 0):
        raise DataError("no image of a class can be read", where=data.classes[number])
