"""The compiled loops that draw a row whose map rotates, slants or bends; `kernels.py` has the rest.

Serial and without the interpreter lock, single precision where it counts, no fastmath.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from polyak.augment.kernels import (
    BORDER,
    FIELD,
    FILLED,
    LENS,
    MATRIX,
    REFLECT,
    SOURCE,
    entry,
    finish,
    jit,
    pointer,
    shrunk,
)

_zero, _half, _one, _two = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


@jit
def _locate(matrix, lens, y, xs, ys):
    """Tell where the centres of output row `y` come from, before the border is considered."""
    v = np.float32(y) + _half
    a, b, c = matrix[0], matrix[3], matrix[6]
    x0, y0, w0 = matrix[1] * v + matrix[2], matrix[4] * v + matrix[5], matrix[7] * v + matrix[8]
    for x in range(xs.size):
        u = np.float32(x) + _half
        depth = _one / (c * u + w0)
        xs[x], ys[x] = (a * u + x0) * depth, (b * u + y0) * depth
    kind, k1, k2, middle_x, middle_y, radius = lens
    if kind != _zero:
        for x in range(xs.size):
            dx, dy = (xs[x] - middle_x) / radius, (ys[x] - middle_y) / radius
            square = dx * dx + dy * dy
            grow = _one + square * (k1 + square * k2)
            if kind == _two:
                rho = np.sqrt(square) * abs(k1)
                bent = np.tan(min(rho, np.float32(1.4))) if k1 > _zero else np.arctan(rho)
                grow = bent / rho if rho > np.float32(1e-6) else _one
            xs[x], ys[x] = middle_x + dx * radius * grow, middle_y + dy * radius * grow


@jit
def _displace(points, amplitude_x, amplitude_y, down, right, xs, ys):
    """Add the field to one row; `down` and `right` are the first point and its spline weights."""
    lines = np.zeros((2, points.shape[2]), np.float32)
    for axis in range(2):
        for k in range(4):
            for i in range(points.shape[2]):
                lines[axis, i] += down[k + 1] * points[axis, int(down[0]) + k, i]
    for x in range(xs.size):
        cell, dx, dy = int(right[x, 0]), _zero, _zero
        for k in range(4):
            dx += right[x, k + 1] * lines[0, cell + k]
            dy += right[x, k + 1] * lines[1, cell + k]
        xs[x] += amplitude_x * dx
        ys[x] += amplitude_y * dy


@jit
def _inside(cs, n, border, cover, scale):
    """Bring coordinates into the image by the border's rule; tell in `cover` what was inside."""
    size, most, turns = np.float32(n), np.float32(2 * n), np.float32(0.5 / n)
    if border == FILLED:
        for i in range(cover.size):
            cover[i] *= min(max(min(cs[i], size - cs[i]) / scale + _half, _zero), _one)
    if border == REFLECT:
        for i in range(cs.size):
            cs[i] = abs(cs[i] - most * np.floor(cs[i] * turns + _half))
    for i in range(cs.size):
        c = cs[i] if cs[i] > _zero else _zero  # a coordinate that is no number becomes 0
        cs[i] = c if c < size else size


@jit
def _corners(n, m, xs, ys, at):
    """Find the top left of the four pixels about each place; xs and ys become the way from it."""
    far_x, far_y = np.int32(m - 2), np.int32(n - 2)
    line, step = np.int32(m * 3), np.int32(3)
    for x in range(at.size):
        u, v = max(xs[x] - _half, _zero), max(ys[x] - _half, _zero)
        left, top = min(np.int32(u), far_x), min(np.int32(v), far_y)
        xs[x], ys[x] = min(u - np.float32(left), _one), min(v - np.float32(top), _one)
        at[x] = top * line + left * step


@intrinsic
def _word(typing, levels, at):
    """Read the 8 levels from a place on as one number; the caller stays inside the array."""

    def build(context, builder, signature, given):
        levels, at = given
        place = pointer(context, builder, signature.args[0], levels, at, ir.IntType(64))
        return builder.load(place, align=1)

    return types.uint64(levels, at), build


@jit
def _fetch(flat, line, at, pixels):
    """Read the four pixels about each place, levels in the low 24 bits: int32 (4, w)."""
    last, bits, pixel = np.uint64(flat.size - 8), np.uint64(3), np.uint64(24)
    for x in range(at.size):
        top = np.uint64(at[x])
        low = min(top + line, last)  # not beyond the end: back a little, and shift
        upper = _word(flat, top)  # pyright: ignore[reportCallIssue]
        lower = _word(flat, low)  # pyright: ignore[reportCallIssue]
        lower >>= (top + line - low) << bits
        pixels[0, x], pixels[1, x] = np.int32(upper), np.int32(upper >> pixel)
        pixels[2, x], pixels[3, x] = np.int32(lower), np.int32(lower >> pixel)


@jit
def _blend(pixels, right, down, planes):
    """Sample bilinearly between four pixels into planes (3, w)."""
    byte = np.int32(255)
    for channel in range(3):
        plane, bits = planes[channel], np.int32(8 * channel)
        a, b, c, d = pixels[0], pixels[1], pixels[2], pixels[3]
        for x in range(right.size):
            p, q = np.float32(np.int32(a[x] >> bits & byte)), np.int32(b[x] >> bits & byte)
            r, s = np.float32(np.int32(c[x] >> bits & byte)), np.int32(d[x] >> bits & byte)
            upper, lower = p + right[x] * (np.float32(q) - p), r + right[x] * (np.float32(s) - r)
            plane[x] = upper + down[x] * (lower - upper)


@jit
def _map(row, n, m):
    """Read a row's map for an image that may have been decoded smaller than it was planned for."""
    fy = np.float32(shrunk(n, float(row[SOURCE])))
    fx = np.float32(shrunk(m, float(row[SOURCE + 1])))
    matrix = np.empty(9, np.float32)
    for i in range(9):
        matrix[i] = row[MATRIX + i] * (fx if i < 3 else fy if i < 6 else _one)
    middle_x, middle_y, radius = row[LENS + 3] * fx, row[LENS + 4] * fy, row[LENS + 5] * fx
    lens = (row[LENS], row[LENS + 1], row[LENS + 2], middle_x, middle_y, radius)
    return matrix, lens, row[FIELD] * fx, row[FIELD] * fy


@entry
def survey(row, n, m, h, w):
    """Measure a map: mean steps in input pixels, and the part of the image that it uses.

    >>> from polyak.augment.kernels import COLOUR, COLUMNS, HIGH
    >>> row = np.zeros(COLUMNS, np.float32)
    >>> row[[MATRIX + 1, MATRIX + 3, MATRIX + 8]] = 2, 2, 1
    >>> survey(row, 100, 100, 10, 10)[:2]
    (2.0, 2.0)
    """
    matrix, lens, amplitude_x, amplitude_y = _map(row, n, m)
    rows, step = min(h, 17), 4 if w > 16 else 1  # a map is smooth: a few places tell
    xs, ys = np.empty(w + 1, np.float32), np.empty(w + 1, np.float32)
    next_xs, next_ys = np.empty(w + 1, np.float32), np.empty(w + 1, np.float32)
    total_x, total_y, places = 0.0, 0.0, 0
    top, left, bottom, right = 4.0 * n, 4.0 * m, -4.0 * n, -4.0 * m
    for k in range(rows):
        y = k * (h - 1) // max(rows - 1, 1)
        _locate(matrix, lens, y, xs, ys)
        _locate(matrix, lens, y + 1, next_xs, next_ys)
        for x in range(0, w, step):
            total_x += (xs[x + 1] - xs[x]) ** 2 + (next_xs[x] - xs[x]) ** 2
            total_y += (ys[x + 1] - ys[x]) ** 2 + (next_ys[x] - ys[x]) ** 2
            places += 1
        for x in range(0, w + step, step):
            u, v = float(xs[min(x, w)]), float(ys[min(x, w)])
            left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
    sy, sx = np.sqrt(total_y / places), np.sqrt(total_x / places)
    gap = 0.25 * h / rows  # rows between those looked at bulge less than they lie apart
    border, more_y, more_x = int(row[BORDER]), gap * sy + amplitude_y, gap * sx + amplitude_x
    top, bottom = _folded(top - more_y, bottom + more_y, n, border)
    left, right = _folded(left - more_x, right + more_x, m, border)
    return sy, sx, top, left, bottom, right


@jit
def _folded(low, high, n, border):
    """Tell which pixels an interval of coordinates needs, after the border's rule."""
    if not (low > -n and high < 2 * n):
        return 0, n
    if border == REFLECT:
        low, high = min(low, 2 * n - high), max(high, -low)
    low, high = min(max(low, 0.0), n - 1.0), max(min(high, float(n)), 1.0)
    return max(int(low) - 2, 0), min(int(high) + 3, n)


@entry
def warp(image, made_of, row, steps, field, out):
    """Draw any map by sampling bilinearly an image, or a softened part of it.

    uint8 (H', W' * 3) into float32 (h, w, 3). `made_of`: the whole image's height and width, the
    part's top and left in it, height and width of a block. `steps`: of the map. `field`:
    `geometry.field`, then `geometry.spline` by rows and by columns.

    >>> from polyak.augment.kernels import COLOUR, COLUMNS, HIGH
    >>> row = np.zeros(COLUMNS, np.float32)
    >>> row[[MATRIX + 1, MATRIX + 3, MATRIX + 8, COLOUR, COLOUR + 5, COLOUR + 10]] = 1
    >>> row[HIGH:SOURCE] = 255
    >>> out, image = np.empty((2, 1, 3), np.float32), np.arange(6, dtype=np.uint8).reshape(1, 6)
    >>> still = tuple(np.zeros(shape, np.float32) for shape in ((2, 4, 4), (2, 5), (1, 5)))
    >>> warp(image, (1, 2, 0, 0, 1, 1), row, (1.0, 1.0), still, out); out[1, 0]
    array([3., 4., 5.], dtype=float32)
    """
    n, m, top, left, by, bx = made_of
    matrix, lens, amplitude_x, amplitude_y = _map(row, n, m)
    h, w, border, flat = out.shape[0], out.shape[1], int(row[BORDER]), image.ravel()
    xs, ys, cover = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.float32)
    at, pixels, planes = (
        np.empty(w, np.int32),
        np.empty((4, w), np.int32),
        np.empty((3, w), np.float32),
    )
    sy, sx = np.float32(max(steps[0], 1.0)), np.float32(max(steps[1], 1.0))
    for y in range(h):
        _locate(matrix, lens, y, xs, ys)
        if amplitude_x != _zero:
            _displace(field[0], amplitude_x, amplitude_y, field[1][y], field[2], xs, ys)
        if border == FILLED:
            for x in range(w):
                cover[x] = _one
        _inside(xs, m, border, cover, sx)
        _inside(ys, n, border, cover, sy)
        if top + left != 0 or by * bx != 1:
            for x in range(w):
                xs[x] = (xs[x] - np.float32(left)) / np.float32(bx)
                ys[x] = (ys[x] - np.float32(top)) / np.float32(by)
        _corners(image.shape[0], image.shape[1] // 3, xs, ys, at)
        _fetch(flat, np.uint64(image.shape[1]), at, pixels)
        _blend(pixels, xs, ys, planes)
        finish(row, planes, cover, y, out)
