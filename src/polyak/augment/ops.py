"""The operations of a policy: each draws its numbers and adds its map to the draft of a plan.

    operation(draft, on, draw, parameter=default, ...)

`on` says which rows it applies to; `draw(k)` gives n numbers in [0, 1), another set for every k.
The signature is the specification: names and defaults of a policy's text. A parameter written as
one number is the symmetric amount (rotate(degrees=15) draws from -15 to 15, brightness(by=0.2) from
0.8 to 1.2); written as a range (0.9..1.4) it is that range. LIMITS holds what is allowed.

Geometry composes in the order of the policy, within the result's pixels; lens and fisheye belong to
the camera and act on the source. Tables (equalize or autocontrast, solarize, posterize) and then
sharpness act on the stored levels, before the resample.
"""

import math
from collections.abc import Callable

import numpy as np

from polyak.augment import colour, geometry
from polyak.augment import kernels as row_of
from polyak.augment.draft import BORDERS, Draft

Draw = Callable[[int | str], np.ndarray]
Amount = float | tuple[float, float]  # symmetric, or from the one to the other

LIMITS: dict[
    str, dict[str, tuple[float, float] | tuple[str, ...]]
] = {  # lowest and highest value, or the words that are allowed
    "crop": {"scale": (1e-6, 1.0), "ratio": (1e-3, 1e3)},
    "centre": {"fraction": (1e-3, 10.0), "down": (0.0, 1.0), "right": (0.0, 1.0)},
    "border": {"mode": BORDERS},
    "shift": {"by": (-1.0, 1.0)},
    "zoom": {"by": (0.0, 10.0)},
    "stretch": {"by": (0.0, 10.0)},
    "rotate": {"degrees": (-360.0, 360.0)},
    "shear": {"degrees": (-60.0, 60.0)},
    "perspective": {"by": (0.0, 0.9)},
    "lens": {"k1": (-0.3, 1.0), "k2": (-0.1, 1.0), "off": (0.0, 0.5)},
    "fisheye": {"by": (-1.4, 1.4)},
    "elastic": {"by": (0.0, 0.5), "cells": (1, 64)},
    "brightness": {"by": (0.0, 10.0)},
    "contrast": {"by": (0.0, 10.0)},
    "saturation": {"by": (0.0, 10.0)},
    "hue": {"degrees": (-180.0, 180.0)},
    "lighting": {"by": (0.0, 10.0)},
    "solarize": {"level": (0.0, 256.0)},
    "posterize": {"bits": (1, 8)},
    "sharpness": {"by": (0.0, 10.0)},
    "hole": {"area": (0.0, 1.0), "ratio": (1e-2, 1e2)},
    "rand": {"count": (1, 10), "magnitude": (0.0, 1.0)},
}


def crop(
    draft: Draft,
    on: np.ndarray,
    draw: Draw,
    scale: Amount = (0.35, 1.0),
    ratio: Amount = (3 / 4, 4 / 3),
) -> None:
    """Show a random rectangle of `scale` times the area, width / height in `ratio`."""
    height, width = np.maximum(draft.sizes, 1).T.astype(np.float64)
    area, (least, most) = _between(draw(0), scale), _pair(ratio)
    # the ratios at which a rectangle of this area fits, so that no draw is ever refused
    low = np.log(np.maximum(least, area * width / height))
    high = np.log(np.minimum(most, width / height / area))
    wide = np.exp(low + draw(1) * (high - low))
    wide = np.where(low <= high, wide, np.clip(width / height, least, most))
    w = np.minimum(np.sqrt(area * height * width * wide), np.minimum(width, height * wide))
    h = np.minimum(w / wide, height)
    rows = np.stack([draw(2) * (height - h), draw(3) * (width - w), h, w], axis=1)
    draft.frames = np.where(on[:, None], rows, draft.frames)


def centre(
    draft: Draft,
    on: np.ndarray,
    draw: Draw,
    fraction: float = 0.875,
    down: float = 0.5,
    right: float = 0.5,
) -> None:
    """Resize the shorter side to size / `fraction` and cut; 0, 0 is the top left corner."""
    draft.place(on, fraction, down, right)


def border(draft: Draft, on: np.ndarray, draw: Draw, mode: str = "reflect") -> None:
    """Say what lies outside the picture: its reflection, its edge, or the data's mean colour."""
    draft.set(on, row_of.BORDER, BORDERS.index(mode))


def shift(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.0625) -> None:
    """Move by up to `by` of the side, in whole pixels of the result so that nothing blurs."""
    low, high = _around(by)
    moves = [_whole(draw(k), low * side, high * side) for k, side in enumerate(draft.size)]
    draft.warp(on, geometry.shift(*moves))


def flip(draft: Draft, on: np.ndarray, draw: Draw) -> None:
    """Mirror left and right."""
    draft.warp(on, geometry.flip(draft.size[1]))


def vflip(draft: Draft, on: np.ndarray, draw: Draw) -> None:
    """Mirror top and bottom."""
    draft.warp(on, geometry.vflip(draft.size[0]))


def zoom(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.2) -> None:
    """Enlarge or shrink about the middle."""
    factor = np.maximum(_factor(draw(0), by), 0.05)
    draft.warp(on, geometry.scale(factor, factor, draft.size))


def stretch(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.2) -> None:
    """Widen by a factor and lower by the same, or the reverse; the area stays."""
    factor = np.sqrt(np.maximum(_factor(draw(0), by), 0.05))
    draft.warp(on, geometry.scale(1.0 / factor, factor, draft.size))


def rotate(draft: Draft, on: np.ndarray, draw: Draw, degrees: Amount = 15.0) -> None:
    """Turn about the middle."""
    draft.warp(on, geometry.rotate(_between(draw(0), _around(degrees)), draft.size))


def shear(draft: Draft, on: np.ndarray, draw: Draw, degrees: Amount = 10.0) -> None:
    """Slant along x, and independently along y."""
    right, down = (_between(draw(k), _around(degrees)) for k in range(2))
    draft.warp(on, geometry.shear(right, down, draft.size))


def perspective(draft: Draft, on: np.ndarray, draw: Draw, by: float = 0.3) -> None:
    """Tilt: every corner moves by up to a quarter of `by` of the side, in or out."""
    h, w = draft.size
    moves = np.stack([draw(k) - 0.5 for k in range(8)], axis=-1).reshape(-1, 4, 2) * by / 2
    corners = (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + moves) * (w, h)
    draft.warp(on, geometry.perspective(corners, draft.size))


def lens(
    draft: Draft, on: np.ndarray, draw: Draw, k1: Amount = 0.15, k2: Amount = 0.0, off: float = 0.1
) -> None:
    """Bend as a lens does: radius r is taken from r (1 + k1 r^2 + k2 r^4), 1 at the corner.

    Positive is barrel, negative pincushion; the middle lies up to `off` of the side off centre.
    """
    bends = [_between(draw(k), _around(value)) for k, value in enumerate((k1, k2))]
    _camera(draft, on, 1.0, bends, [0.5 + off * (2.0 * draw(k) - 1.0) for k in (2, 3)])


def fisheye(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.7) -> None:
    """Bend as a fisheye that sees `by` radians off axis at the corner; negative undoes one."""
    half_angle = _between(draw(0), _around(by))
    half_angle = np.where(np.abs(half_angle) < 1e-3, 1e-3, half_angle)
    _camera(draft, on, 2.0, [half_angle, 0.0], [0.5, 0.5])


def elastic(draft: Draft, on: np.ndarray, draw: Draw, by: float = 0.03, cells: float = 5) -> None:
    """Move pixels by up to `by` of the shown side, smoothly over `cells` squares a side."""
    amplitude = by * np.minimum(draft.frames[:, 2], draft.frames[:, 3])
    key = np.floor(draw(0) * 2.0**24)
    draft.set(on, row_of.FIELD, amplitude, int(cells), key)


def brightness(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.2) -> None:
    """Multiply the values."""
    draft.tint(on, colour.brightness(_factor(draw(0), by)))


def contrast(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.2) -> None:
    """Push the values away from the data's mean grey, or to it."""
    pivot = np.full(len(on), colour.GREY @ draft.mean)
    draft.tint(on, colour.contrast(_factor(draw(0), by), pivot))


def saturation(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.2) -> None:
    """Push the colours away from grey, or to it."""
    draft.tint(on, colour.saturation(_factor(draw(0), by)))


def hue(draft: Draft, on: np.ndarray, draw: Draw, degrees: Amount = 18.0) -> None:
    """Turn the colours about the grey axis."""
    draft.tint(on, colour.hue(_between(draw(0), _around(degrees))))


def grey(draft: Draft, on: np.ndarray, draw: Draw) -> None:
    """Take the colour away."""
    draft.tint(on, colour.saturation(np.zeros(len(on))))


def lighting(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.1) -> None:
    """Add AlexNet's noise along the principal components of ImageNet's colours."""
    u = [np.sqrt(-2.0 * np.log(1.0 - draw(2 * k))) for k in range(2)]  # Box and Muller
    angles = [2.0 * np.pi * draw(2 * k + 1) for k in range(2)]
    normal = [u[0] * np.cos(angles[0]), u[0] * np.sin(angles[0]), u[1] * np.cos(angles[1])]
    draft.tint(on, colour.lighting(by * np.stack(normal, axis=-1)))


def equalize(draft: Draft, on: np.ndarray, draw: Draw) -> None:
    """Spread every channel's histogram over all levels."""
    draft.set(on, row_of.TABLE, 1.0)


def autocontrast(draft: Draft, on: np.ndarray, draw: Draw) -> None:
    """Stretch every channel's levels over all that there are."""
    draft.set(on, row_of.TABLE, 2.0)


def sharpness(draft: Draft, on: np.ndarray, draw: Draw, by: Amount = 0.9) -> None:
    """Push every pixel away from the mean of its neighbours, or to it: 0 smooths, 2 sharpens."""
    draft.set(on, row_of.SHARP, _factor(draw(0), by) - 1.0)


def solarize(draft: Draft, on: np.ndarray, draw: Draw, level: Amount = (128.0, 256.0)) -> None:
    """Invert the levels from a threshold on."""
    draft.set(on, row_of.TABLE + 1, np.round(_between(draw(0), level)))


def posterize(draft: Draft, on: np.ndarray, draw: Draw, bits: Amount = (4, 8)) -> None:
    """Keep only the first bits of every level."""
    draft.set(on, row_of.TABLE + 2, _whole(draw(0), *_pair(bits)))


def hole(
    draft: Draft, on: np.ndarray, draw: Draw, area: Amount = (0.02, 0.2), ratio: Amount = (0.3, 3.3)
) -> None:
    """Cut a rectangle out, inside the result, and fill it with the data's mean colour."""
    h, w = draft.size
    low, high = np.log(_pair(ratio))
    part, wide = _between(draw(0), area) * h * w, np.exp(low + draw(1) * (high - low))
    high, wide = np.minimum(np.sqrt(part / wide), h), np.minimum(np.sqrt(part * wide), w)
    high, wide = np.round(high), np.round(wide)
    top, left = np.floor(draw(2) * (h - high + 1)), np.floor(draw(3) * (w - wide + 1))
    draft.set(on, row_of.HOLE, top, left, top + high, left + wide)


def _pair(value: Amount) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def _around(value: Amount) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (-value, value)


def _between(u, value):
    low, high = _pair(value)
    return low + u * (high - low)


def _factor(u, by):
    return _between(u, by if isinstance(by, tuple) else (max(1.0 - by, 0.0), 1.0 + by))


def _whole(u, low, high):
    if low == high:
        return np.full_like(u, math.copysign(math.floor(abs(low) + 0.5), low))
    low, high = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    return np.minimum(np.floor(_between(u, (low, high + 1.0))), high)


def _camera(draft, on, kind, bends, middle):
    height, width = np.maximum(draft.sizes, 1).T
    radius = np.hypot(height, width) / 2
    values = (kind, *bends, middle[0] * width, middle[1] * height, radius)
    draft.set(on, row_of.LENS, *values)


_GEOMETRY = (crop, centre, border, shift, flip, vflip, zoom, stretch, rotate, shear, perspective)
_BENT = (lens, fisheye, elastic)
_COLOUR = (brightness, contrast, saturation, hue, grey, lighting)
_LEVELS = (equalize, autocontrast, solarize, posterize, sharpness)
OPERATIONS: dict[str, Callable[..., None]] = {
    f.__name__: f for f in (*_GEOMETRY, *_BENT, *_COLOUR, *_LEVELS, hole)
}
