"""Geometry as maps from output pixel to input pixel: 3x3 matrices, one a row, composed by
multiplication.

Coordinates are (x, y, 1) in pixels, pixel centres at +0.5, so an image of width W spans 0 to
W. A map says where each output pixel comes from; the chain `first`, `then` on the image is
therefore `first @ then` on the maps.
"""

import numpy as np
from numpy.typing import ArrayLike

from polyak.keys import uniform


def identity(n: int) -> np.ndarray:
    """Leave every pixel where it is: float64 (n, 3, 3).

    >>> identity(2).shape
    (2, 3, 3)
    """
    return np.broadcast_to(np.eye(3), (n, 3, 3)).copy()


def affine(
    xx: ArrayLike = 1.0,
    xy: ArrayLike = 0.0,
    x: ArrayLike = 0.0,
    yx: ArrayLike = 0.0,
    yy: ArrayLike = 1.0,
    y: ArrayLike = 0.0,
) -> np.ndarray:
    """Assemble maps from broadcast entries: float64 (..., 3, 3), input x = xx * x + xy * y + x.

    >>> affine(x=3.0) @ [0.5, 0.5, 1.0]
    array([3.5, 0.5, 1. ])
    """
    entries = np.broadcast_arrays(xx, xy, x, yx, yy, y, 0.0, 0.0, 1.0)
    return np.stack(entries, axis=-1).astype(np.float64).reshape(*entries[0].shape, 3, 3)


def frame(
    top: ArrayLike, left: ArrayLike, height: ArrayLike, width: ArrayLike, size: tuple[int, int]
) -> np.ndarray:
    """Show a rectangle of the input, in its pixels, as the whole output (crop and resize).

    >>> frame(0, 0, 4, 4, (2, 2)) @ [0.5, 0.5, 1.0]
    array([1., 1., 1.])
    """
    return affine(xx=np.divide(width, size[1]), x=left, yy=np.divide(height, size[0]), y=top)


def flip(width: ArrayLike) -> np.ndarray:
    """Mirror left and right about the middle of an image `width` pixels wide.

    >>> flip(8) @ [0.5, 0.5, 1.0]
    array([7.5, 0.5, 1. ])
    """
    return affine(xx=-1.0, x=width)


def vflip(height: ArrayLike) -> np.ndarray:
    """Mirror top and bottom about the middle of an image `height` pixels high.

    >>> vflip(8) @ [0.5, 0.5, 1.0]
    array([0.5, 7.5, 1. ])
    """
    return affine(yy=-1.0, y=height)


def shift(down: ArrayLike, right: ArrayLike) -> np.ndarray:
    """Move the image's content down and right by pixels.

    >>> shift(0, 1) @ [1.5, 0.5, 1.0]
    array([0.5, 0.5, 1. ])
    """
    return affine(x=np.negative(right), y=np.negative(down))


def scale(down: ArrayLike, right: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Enlarge the content about the middle, by one factor down and one right (zoom, stretch).

    >>> scale(2.0, 2.0, (4, 4)) @ [0.0, 2.0, 1.0]
    array([1., 2., 1.])
    """
    return about(affine(xx=np.divide(1.0, right), yy=np.divide(1.0, down)), size)


def rotate(degrees: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Turn the content counter-clockwise about the middle (Pillow's and torchvision's sense).

    >>> np.round(rotate(90.0, (4, 4)) @ [0.5, 3.5, 1.0], 6)
    array([0.5, 0.5, 1. ])
    """
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    return about(affine(xx=c, xy=-s, yx=s, yy=c), size)


def shear(right: ArrayLike, down: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Slant about the middle by degrees: rows slide right with y, columns slide down with x.

    >>> np.round(shear(45.0, 0.0, (4, 4)) @ [2.0, 3.0, 1.0], 6)
    array([1., 3., 1.])
    """
    a, b = np.tan(np.deg2rad(right)), np.tan(np.deg2rad(down))
    return about(np.linalg.inv(affine(xy=a, yx=b)), size)


def perspective(corners: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Show the quadrilateral `corners` of the input as the whole output.

    Args:
        corners: float (..., 4, 2), x and y in pixels, clockwise from the top left.
        size: (height, width) of the output, pixels.

    Returns:
        float64 (..., 3, 3); its last entry is 1.

    Source: Heckbert, Fundamentals of Texture Mapping, 1989, section 2.2.

    >>> square = [[0, 0], [4, 0], [4, 4], [0, 4]]
    >>> np.allclose(perspective(square, (4, 4)), np.eye(3))
    True
    """
    corners = np.asarray(corners, dtype=np.float64)
    p0, p1, p2, p3 = np.moveaxis(corners, -2, 0)
    d1, d2, total = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    area = _cross(d1, d2)
    g, h = _cross(total, d2) / area, _cross(d1, total) / area
    a = p1 - p0 + g[..., None] * p1
    b = p3 - p0 + h[..., None] * p3
    one = np.ones_like(g)
    rows = (a[..., 0], b[..., 0], p0[..., 0], a[..., 1], b[..., 1], p0[..., 1], g, h, one)
    unit = np.stack(rows, axis=-1).reshape(*g.shape, 3, 3)
    return unit @ affine(xx=1.0 / size[1], yy=1.0 / size[0])


def about(map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Let a map fix the middle of an image of `size` instead of its corner.

    >>> about(affine(xx=3.0), (2, 2)) @ [1.0, 1.0, 1.0]
    array([1., 1., 1.])
    """
    y, x = size[0] / 2, size[1] / 2
    return affine(x=x, y=y) @ map @ affine(x=-x, y=-y)


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def field(key: int, cells: int) -> np.ndarray:
    """Draw the control points of a smooth displacement: float32 (2, cells + 3, cells + 3), -1 to 1.

    The cubic B-spline of these points, over cells x cells squares that cover the result, moves each
    pixel in x and in y. Source: Simard et al., Best Practices for CNNs, 2003 (elastic distortion).

    >>> field(7, 4).shape
    (2, 7, 7)
    """
    points = np.arange(2 * (cells + 3) ** 2)
    return (2.0 * uniform("field", key, points) - 1.0).astype(np.float32).reshape(2, cells + 3, -1)


def spline(cells: int, n: int) -> np.ndarray:
    """Place n pixels on `cells` cells: float32 (n, 5), first point and four B-spline weights.

    >>> spline(4, 2)[:, 0].tolist(), spline(4, 2)[:, 1:].sum(axis=1).tolist()
    ([1.0, 3.0], [1.0, 1.0])
    """
    at = (np.arange(n) + 0.5) * cells / n
    cell = np.minimum(at.astype(np.int64), cells - 1)
    t = at - cell
    s = 1.0 - t
    weights = [s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3]
    return np.stack([cell, *(w / 6 for w in weights)], axis=1).astype(np.float32)
