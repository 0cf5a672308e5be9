"""Images that are dark, blurred or tiny, beside the others of the same data."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from polyak.data.images import Images
from polyak.decoding.unreadable import Unreadable

SIDE = 256  # pixels that an image is shrunk to before its sharpness is measured
DARK = 0.12  # of full light: what is the brightest of an image that shows hardly anything
SMALL = 4.0  # times smaller than the middle one
BLUNT = 5.0  # deviations below the middle of the logarithms of sharpness


@dataclass(frozen=True)
class Quality:
    """Hold what was measured of images; NaN where one could not be read.

    Args:
        light: float (N,), brightness that one pixel in twenty exceeds, 0 to 1.
        sharpness: float (N,), variance of the second derivative of the grey levels.
        side: float (N,), the shorter one, pixels.
    """

    light: np.ndarray
    sharpness: np.ndarray
    side: np.ndarray


def measure(images: Images, threads: int = 1) -> Quality:
    """Measure light, sharpness and size of opened images.

    >>> found = measure(Images.of(np.full((2, 8, 8, 3), 51, np.uint8)))
    >>> found.light.round(2).tolist(), found.sharpness.tolist(), found.side.tolist()
    ([0.2, 0.2], [0.0, 0.0], [8.0, 8.0])
    """
    table = np.full((len(images), 2), np.nan)

    def look(position: int) -> None:
        try:
            with images.turn(position):
                grey = Image.fromarray(images[position]).convert("L")
        except Unreadable:
            return
        if max(grey.size) > SIDE:
            grey.thumbnail((SIDE, SIDE))
        levels = np.asarray(grey, np.float64) / 255
        table[position] = np.quantile(levels, 0.95), _sharpness(levels)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(look, range(len(images)), chunksize=64))
    return Quality(table[:, 0], table[:, 1], images.sizes.min(1).astype(float))


def _sharpness(levels: np.ndarray) -> float:
    if min(levels.shape) < 3:
        return 0.0
    centre = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return float((around - 4 * centre).var())


def dark(found: Quality) -> tuple[np.ndarray, np.ndarray]:
    """List images that show hardly anything, the darkest first: (positions, light 0 to 1).

    >>> dark(Quality(np.array([0.5, 0.05]), np.ones(2), np.ones(2)))[0].tolist()
    [1]
    """
    return _below(found.light, DARK, found.light)


def soft(found: Quality) -> tuple[np.ndarray, np.ndarray]:
    """List images that are much less sharp than the others: (positions, sharpness to the middle's).

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.

    >>> sharpness = np.exp(np.random.default_rng(0).normal(size=100))
    >>> sharpness[4] = 1e-4
    >>> soft(Quality(np.ones(100), sharpness, np.ones(100)))[0].tolist()
    [4]
    """
    known = found.sharpness[found.sharpness > 0]
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0)
    logs = np.log(np.maximum(found.sharpness, known.min() / 10))
    low, middle, high = np.nanquantile(logs, [0.25, 0.5, 0.75])
    limit = middle - BLUNT * max((high - low) / 1.349, 0.2)
    return _below(logs, limit, np.exp(logs - middle))


def tiny(found: Quality) -> tuple[np.ndarray, np.ndarray]:
    """List images that are much smaller than the others: (positions, side to the middle one's).

    >>> tiny(Quality(np.ones(5), np.ones(5), np.array([100.0, 90, 20, 110, 99])))[0].tolist()
    [2]
    """
    share = found.side / np.median(found.side)
    return _below(share, 1 / SMALL, share)


def _below(values: np.ndarray, limit: float, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):
        at = np.flatnonzero(values < limit)
    at = at[np.argsort(values[at], kind="stable")]
    return at, scores[at]
