"""Images that look the same: one thing photographed twice, one file saved again or mirrored.

Parted between training and judging they flatter the score, so splits and folds keep them together.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from polyak import files
from polyak.data.dataset import Dataset
from polyak.data.groups import joined
from polyak.data.images import Images
from polyak.data.scan import mixed
from polyak.decoding.decode import decode
from polyak.decoding.header import read_header
from polyak.decoding.notes import quiet
from polyak.decoding.turns import turn
from polyak.decoding.unreadable import Unreadable
from polyak.errors import PolyakError, shown

SIDE = 16  # pixels of a thumbnail: its dot products, below 2**24, are exact in float32
ALIKE = 0.98  # correlation of two thumbnails of one thing
SMALLEST = 32  # pixels: smaller images, of one digit say, correlate so much anyhow
MOST = 20_000  # images of a class; of a larger one only exact copies are found
_MOST_TOLD = 5  # classes
_ROWS = 1024  # of an image, or of the table of correlations, at once


def grouped(data: Dataset, threads: int | None = None, images: Images | None = None) -> Dataset:
    """Find the images of each class that look the same, and tell of them in `warnings`.

    Two images look the same when their grey thumbnails, 16 x 16, correlate by 0.98, as they are
    or one of them mirrored or turned by quarters; what looks like either of two such belongs to
    them too. More than half of a class that looks the same, as before a fixed camera, is not kept
    together: nothing would be left to judge by. The answer is remembered on disk.

    Args:
        data: a scanned data set.
        threads: how many files at once; default one a processor.
        images: the same images, perhaps decoded already.

    Returns:
        The same with `groups`: what looks the same, and what the user's own groups bind together.

    >>> from polyak.data.scan import scan
    >>> from polyak.data.sources import find
    >>> data = grouped(scan(find("digits")))
    >>> len(np.unique(data.groups))  # too small to be compared, and no exact copies
    1797
    """
    folder = files.cache_folder() / "alike-2"
    scaled = f"-{data.bits}" if data.bits < 16 else ""
    file = folder / f"{data.fingerprint()[:40]}{scaled}.npy"
    found = _remembered(file, len(data))
    if found is None:
        found = near_duplicates(data, threads, images)
        with suppress(OSError, PolyakError):  # a cache that cannot be kept costs the next run
            folder.mkdir(parents=True, exist_ok=True)
            files.write_atomic(file, lambda path: _save(path, found))
    copies, of_class = data.copies(), np.bincount(data.strata)[data.strata]
    most = np.maximum(of_class // 2, np.minimum(4, of_class - 1))
    whole = np.bincount(found)[found] > np.maximum(most, np.bincount(copies)[copies])
    kept = np.where(whole, len(data) + copies, found)
    groups = np.unique(kept, return_inverse=True)[1].reshape(-1)
    warnings = [*data.warnings, *_told(data, copies, groups, whole)]
    return replace(data, groups=joined(groups, data.named_groups), warnings=warnings)


def near_duplicates(
    data: Dataset, threads: int | None = None, images: Images | None = None
) -> np.ndarray:
    """Number the groups of images that look the same: int64 (n,).

    Args:
        data: a scanned data set.
        threads: how many files at once; default one a processor.
        images: the same images, perhaps decoded already.

    >>> from polyak.data.scan import scan
    >>> from polyak.data.sources import find
    >>> data = scan(find("digits")).take([3, 5, 3])  # an exact copy
    >>> near_duplicates(data).tolist()
    [1, 0, 1]
    """
    group = data.copies()
    large = np.flatnonzero(data.sizes.min(1) >= SMALLEST)
    thumbs = np.zeros((len(data), SIDE * SIDE), np.float32)

    def fill(position: int) -> None:
        min_size = (SMALLEST, SMALLEST)
        with suppress(Unreadable):  # then it looks like nothing
            if images and data.sizes[position].min() < 2 * SMALLEST - 1:  # not shrunk either way
                thumbs[position] = _thumbnail(images[position])
                return
            file = data.source.read(position)
            header = read_header(file, data.pixel_cap)
            if images and images.keeps(position) and not header.jpeg:  # which nothing shrinks
                thumbs[position] = _thumbnail(images[position])
                return
            with turn(header.weight(min_size)):
                thumbs[position] = _thumbnail(decode(file, data.pixel_cap, min_size, data.bits))

    with quiet(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, large.tolist(), chunksize=64))
    strata = data.strata
    for label in np.unique(strata):
        members = large[strata[large] == label]
        if len(members) <= MOST:
            seen = thumbs[members]
            # as they are too: where two sides are equally bright, noise decides how one is turned
            for one, other in chain(_pairs(seen), _pairs(_turned(seen))):
                group = _joined(group, members[one], members[other])
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Shrink an image to what can be compared: grey, whole numbers about their mean."""
    height, width, _ = pixels.shape
    grey = Image.new("L", (width, height))
    for top in range(0, height, _ROWS):  # Pillow's copies are of some rows at a time
        grey.paste(Image.fromarray(pixels[top : top + _ROWS]).convert("L"), (0, top))
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    levels = np.asarray(small, np.float32).ravel()
    return levels - levels.mean().round()


def _turned(thumbs: np.ndarray) -> np.ndarray:
    """Mirror and turn thumbnails so that all copies of one lie alike: bright to the right, to the
    bottom, and more to the right.
    """
    at = np.arange(1 - SIDE, SIDE, 2, dtype=np.float32)
    across, down = thumbs @ np.tile(at, SIDE), thumbs @ np.repeat(at, SIDE)  # exact, as above
    maps = thumbs.reshape(-1, SIDE, SIDE)
    maps = np.where((across < 0)[:, None, None], maps[:, :, ::-1], maps)
    maps = np.where((down < 0)[:, None, None], maps[:, ::-1], maps)
    steep = np.abs(down) > np.abs(across)
    return np.where(steep[:, None, None], maps.transpose(0, 2, 1), maps).reshape(thumbs.shape)


def _pairs(thumbs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the positions of those that correlate, each pair once, some rows at a time."""
    norms = np.sqrt((thumbs.astype(np.float64) ** 2).sum(1))
    for begin in range(0, len(thumbs), _ROWS):
        rows = slice(begin, begin + _ROWS)
        needed = ALIKE * norms[rows, None] * norms[begin:]
        one, other = np.nonzero((thumbs[rows] @ thumbs[begin:].T >= needed) & (needed > 0))
        later = other > one
        if later.any():
            yield one[later] + begin, other[later] + begin


def _joined(group: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Join the groups that pairs of images bind together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = group.max() + 1
    graph = coo_array((np.ones(len(one), bool), (group[one], group[other])), shape=(n, n))
    return connected_components(graph, directed=False)[1][group].astype(np.int64)


def _told(
    data: Dataset, copies: np.ndarray, groups: np.ndarray, whole: np.ndarray
) -> Iterator[str]:
    """Say how many look like another file without being its copy, and which of them leak."""
    near = np.flatnonzero(np.bincount(groups)[groups] > np.bincount(copies)[copies])
    if len(near):
        twins = np.flatnonzero(groups == groups[near[0]])[:2]
        names = " and ".join(shown(data.paths[i]) for i in twins)
        yield f"{len(near)} images look the same as others ({names}): --val keeps them together"
    part = np.unique(data.splits, return_inverse=True)[1].reshape(-1)
    leaks = np.intersect1d(mixed(groups, part), near)
    if len(leaks):
        yield f"{len(leaks)} images look the same as one of another split; scores flatter"
    strata = data.strata
    large = np.unique(strata[whole])
    for label in large[:_MOST_TOLD]:
        name = shown(data.classes[label]) if label < len(data.classes) else "no label"
        count = whole[strata == label].sum()
        yield f"{count} images of {name} look the same, too many to keep together; scores flatter"
    if len(large) > _MOST_TOLD:
        yield f"so it is with {len(large) - _MOST_TOLD} more classes"


def _remembered(file: Path, n: int) -> np.ndarray | None:
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = found.shape == (n,) and found.dtype == np.int64 and (found >= 0).all()
    return found if fits and (found < n).all() else None


def _save(path: Path, found: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, found)
