"""The operations of a policy: each draws its numbers and adds its map to the draft of a plan.

    operation(draft, on, draw, parameter=default, ...)

`on` says which rows it applies to; `draw(k)` gives n numbers in [0, 1), another set for every
k. The signature is the specification: names and defaults of a policy's text. A parameter
written as one number is the symmetric amount (rotate(degrees=15) draws from -15 to 15,
brightness(by=0.2) from 0.8 to 1.2), written as a range (0.9..1.4) it is that range. LIMITS
holds what is allowed.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from polyak.augment import colour, geometry

LIMITS = {  # (operation, parameter): (lowest, highest); "exclusive" below where 0 would be singular
    ("crop", "scale"): (1e-6, 1.0),
    ("crop", "ratio"): (1e-3, 1e3),
    ("centre", "fraction"): (1e-3, 10.0),
    ("centre", "down"): (0.0, 1.0),
    ("centre", "right"): (0.0, 1.0),
    ("shift", "by"): (-1.0, 1.0),
    ("brightness", "by"): (0.0, 10.0),
    ("contrast", "by"): (0.0, 10.0),
    ("saturation", "by"): (0.0, 10.0),
}


@dataclass
class Draft:
    """What the operations have composed so far, a row a picture."""

    sizes: np.ndarray  # (n, 2) height, width
    size: tuple[int, int]
    grey: float  # the data's mean grey, the pivot of contrast
    frames: np.ndarray = field(init=False)  # (n, 4) top, left, height, width shown, input pixels
    maps: np.ndarray = field(init=False)  # (n, 3, 3) within the result's pixels
    colours: np.ndarray = field(init=False)  # (n, 3, 4)

    def __post_init__(self):
        self.frames = _placed(self.sizes, self.size, 1.0, 0.5, 0.5)
        self.maps = geometry.identity(len(self.sizes))
        self.colours = colour.identity(len(self.sizes))

    def warp(self, on: np.ndarray, map: np.ndarray) -> None:
        """Let the content go through one more map, where `on`."""
        self.maps = np.where(on[:, None, None], self.maps @ map, self.maps)

    def tint(self, on: np.ndarray, map: np.ndarray) -> None:
        """Let the colours go through one more map, where `on`."""
        self.colours = np.where(on[:, None, None], colour.compose(self.colours, map), self.colours)


def crop(draft, on, draw, scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3)):
    """Show a random rectangle of `scale` times the area, width / height in `ratio`."""
    height, width = np.maximum(draft.sizes, 1).T.astype(np.float64)
    area, ratio = _between(draw(0), scale), _pair(ratio)
    # the ratios at which a rectangle of this area fits, so that no draw is ever refused
    low, high = (
        np.maximum(ratio[0], area * width / height),
        np.minimum(ratio[1], width / height / area),
    )
    wide = np.exp(np.log(low) + draw(1) * (np.log(np.maximum(high, low)) - np.log(low)))
    wide = np.where(low <= high, wide, np.clip(width / height, *ratio))
    w = np.minimum(np.sqrt(area * height * width * wide), np.minimum(width, height * wide))
    h = np.minimum(w / wide, height)
    rows = np.stack([draw(2) * (height - h), draw(3) * (width - w), h, w], axis=1)
    draft.frames = np.where(on[:, None], rows, draft.frames)


def centre(draft, on, draw, fraction=0.875, down=0.5, right=0.5):
    """Resize the shorter side to size / `fraction` and cut; 0, 0 is the top left corner."""
    rows = _placed(draft.sizes, draft.size, fraction, down, right)
    draft.frames = np.where(on[:, None], rows, draft.frames)


def shift(draft, on, draw, by=0.0625):
    """Move by up to `by` of the side, in whole pixels of the result so that nothing blurs."""
    low, high = by if isinstance(by, tuple) else (-by, by)
    moves = [_whole(draw(k), low * side, high * side) for k, side in enumerate(draft.size)]
    draft.warp(on, geometry.shift(*moves))


def flip(draft, on, draw):
    """Mirror left and right."""
    draft.warp(on, geometry.flip(draft.size[1]))


def upset(draft, on, draw):
    """Mirror top and bottom."""
    draft.warp(on, geometry.upset(draft.size[0]))


def brightness(draft, on, draw, by=0.2):
    """Multiply the values."""
    draft.tint(on, colour.brightness(_factor(draw(0), by)))


def contrast(draft, on, draw, by=0.2):
    """Push the values away from the data's mean grey, or to it."""
    draft.tint(on, colour.contrast(_factor(draw(0), by), np.full(len(on), draft.grey)))


def saturation(draft, on, draw, by=0.2):
    """Push the colours away from grey, or to it."""
    draft.tint(on, colour.saturation(_factor(draw(0), by)))


OPERATIONS = {
    f.__name__: f for f in (crop, centre, shift, flip, upset, brightness, contrast, saturation)
}


def _pair(value):
    return value if isinstance(value, tuple) else (value, value)


def _between(u, value):
    low, high = _pair(value)
    return low + u * (high - low)


def _factor(u, by):
    return _between(u, by if isinstance(by, tuple) else (max(1.0 - by, 0.0), 1.0 + by))


def _whole(u, low, high):
    if low == high:
        return np.full_like(u, math.copysign(math.floor(abs(low) + 0.5), low))
    low, high = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    return np.floor(_between(u, (low, high + 1.0)))


def _placed(sizes, size, fraction, down, right):
    sizes = np.maximum(sizes, 1).astype(np.float64)
    shown = (
        np.min(sizes / size, axis=1, keepdims=True) * fraction * np.array(size, dtype=np.float64)
    )
    return np.concatenate([(sizes - shown) * (down, right), shown], axis=1)
