"""Test-time views: several fixed looks at every image, whose probabilities are averaged.

Source: CS231n lecture 7, slide "Random crops and scales", testing: average a fixed
set of crops (ResNet: ten crops at five scales).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from polyak.augment.policy import Policy
from polyak.errors import UsageError

_STEP = 1 / 32  # a shift of one pixel for images of 32 pixels, in proportion for larger ones
_FLIPS = ("", " | flip")


def views(
    name: str,
    sizes: ArrayLike,
    size: tuple[int, int],
    mean: ArrayLike,
    std: ArrayLike,
    fraction: float = 0.875,
) -> list[np.ndarray]:
    """Plan every view of some images; no view is random.

    Args:
        name: one of `VIEWS`: "one", "flip", "flip+shift", "ten", "scales".
        sizes: int (n, 2); height and width of the images as stored.
        size: (height, width) of the result, pixels.
        mean: three numbers in [0, 1].
        std: three numbers in [0, 1].
        fraction: part of the shorter side that the plain centre view shows.

    Returns:
        list of float32 (n, COLUMNS), one plan a view.

    Raises:
        UsageError: no such set of views.

    >>> len(views("flip", [(32, 32)], (32, 32), (0, 0, 0), (1, 1, 1), 1.0))
    2
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    indices = np.arange(len(sizes))
    return [p.plan(0, 0, indices, sizes, size, mean, std) for p in policies(name, fraction)]


def policies(name: str, fraction: float = 0.875) -> list[Policy]:
    """Write the views as policies.

    >>> [str(policy) for policy in policies("flip", 1.0)]
    ['centre(fraction=1)', 'centre(fraction=1) | flip']
    """
    if name not in VIEWS:
        raise UsageError("no such views", where=name, then=f"choose of {', '.join(VIEWS)}")
    return [Policy.parse(text) for text in VIEWS[name](float(fraction))]


def _one(fraction):
    return [f"centre(fraction={fraction!r})"]


def _flip(fraction):
    return [f"centre(fraction={fraction!r}){flip}" for flip in _FLIPS]


def _flip_shift(fraction):
    moves = ["", f" | shift(by={-_STEP}..{-_STEP})", f" | shift(by={_STEP}..{_STEP})"]
    return [f"centre(fraction={fraction!r}){move}{flip}" for move in moves for flip in _FLIPS]


def _ten(fraction):
    corners = [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)]
    places = [f"centre(fraction={fraction!r}, down={y!r}, right={x!r})" for y, x in corners]
    return [place + flip for place in places for flip in _FLIPS]


def _scales(fraction):
    factors = [1.0, 224 / 256, 288 / 256, 320 / 256]  # resolutions about the usual, as ResNet's
    shown = [min(fraction / factor, 1.0) for factor in factors]
    return [view for part in dict.fromkeys(shown) for view in _flip(part)]


VIEWS: dict[str, Callable[[float], list[str]]] = {
    "one": _one,
    "flip": _flip,
    "flip+shift": _flip_shift,
    "ten": _ten,
    "scales": _scales,
}
