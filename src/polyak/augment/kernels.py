"""The compiled loops that draw a plan's row: one resample, one colour map, one write.

Serial and without the interpreter lock (several Python threads may render at once), single
precision where it counts, no fastmath. Loops are short and each does one thing, so that the
compiler makes vectors of them; where it cannot, an intrinsic says how. Here: the layout of a plan's
row, what both kernels need, and maps without rotation, slant or lens; the others are in `warp.py`.
Compiled kernels are kept on disk by the age of their own file: after a change here touch `warp.py`.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

MATRIX = 0  # 9 numbers: 3x3 map, output pixel (x, y, 1) to input pixel
COLOUR = 9  # 12 numbers: 3x4 map from levels 0..255 to normalised values
LOW, HIGH = 21, 24  # 3 numbers each: bounds of the normalised values
SOURCE = 27  # 2 numbers: height and width of the image the map was made for
BORDER = 29  # 0 reflect, 1 edge, 2 colour
FILL = 30  # 3 numbers: border colour in levels 0..255
HOLE = 33  # 4 numbers: top, left, bottom, right in output pixels
HOLE_COLOUR = 37  # 3 numbers, normalised
LENS = 40  # 6 numbers: kind (0 none, 1 radial, 2 fisheye), k1, k2, centre x, centre y, radius
FIELD = 46  # 3 numbers: amplitude in input pixels, cells along a side, key below 2**24
TABLE = 49  # 3 numbers: 1 equalize, 2 autocontrast; solarize from this level; posterize to bits
SHARP = 52  # sharpness less 1
COLUMNS = 53

REFLECT, FILLED = 0, 2

entry: Callable[..., Any] = numba.njit(nogil=True, cache=True, error_model="numpy")
jit: Callable[..., Any] = numba.njit(error_model="numpy")
_zero = np.float32(0)
_steps = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)  # unsigned: no check for sign


@jit
def shrunk(n, made_for):
    """Tell the factor from pixels of the plan's image to pixels of this one (decoded smaller)."""
    for power in (1.0, 2.0, 4.0, 8.0):
        if n == np.ceil(made_for / power):
            return 1.0 / power
    return n / made_for if made_for >= 1.0 else 1.0


@jit
def _even(n):
    return n + n % 2


@jit
def _taps(scale, offset, n, border, start, weight, cover):
    """Weigh input pixels by output pixel along one axis: a triangle, widened when shrinking."""
    support = max(abs(scale), 1.0)
    most = 1
    for i in range(start.size):
        middle = scale * (i + 0.5) + offset
        inside = min(middle + support / 2, n) - max(middle - support / 2, 0.0)
        cover[i] = min(max(inside / support, 0.0), 1.0)
        if not 0.0 <= middle <= n:
            if border == REFLECT:  # about the outer edge of the image: ... b a | a b c ...
                middle = abs(middle - 2.0 * n * np.floor(middle / (2.0 * n) + 0.5))
            middle = min(max(middle, 0.0), n)
        first = max(int(np.floor(middle - support + 0.5)), 0)
        while abs(first + 0.5 - middle) >= support and first + 1 < n:
            first += 1
        start[i] = first
        total, k = 0.0, 0
        while k < weight.shape[1] and first + k < n and first + k + 0.5 - middle < support:
            weight[i, k] = 1.0 - abs(first + k + 0.5 - middle) / support
            total += 1.0 - abs(first + k + 0.5 - middle) / support
            k += 1
        most = max(most, k)
        for j in range(weight.shape[1]):
            weight[i, j] = weight[i, j] / total if j < k else 0.0
    return most


@jit
def _down(image, first, weight, y, left, size, sums):
    """Add rows of the image by weight, two a pass; a row beyond the last has weight 0."""
    for i in range(size):
        sums[i] = _zero
    for k in range(0, weight.shape[1], 2):
        v, w = weight[y, k], weight[y, k + 1]
        line = image[first + k * (v != _zero), left : left + size]  # from 0: no check for sign
        next = image[first + (k + 1) * (w != _zero), left : left + size]
        if w != _zero:
            for i in range(line.size):
                sums[i] += v * np.float32(line[i]) + w * np.float32(next[i])
        elif v != _zero:
            for i in range(line.size):
                sums[i] += v * np.float32(line[i])


def pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any, to: Any) -> Any:
    """Point at one place of an array, as another type."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), to.as_pointer())


@intrinsic
def _weigh(typing, sums, at, weights, first, pairs, planes, x):
    """Write pixel x of planes: sums of pixels from `at`, two by two, by 8 weights a pair.

    A pair's weights are a a a b b b 0 0, so that one product of eight numbers serves two pixels.
    """

    def build(context, builder, signature, given):
        kinds, eight = signature.args, ir.VectorType(ir.FloatType(), 8)
        index, whole = ir.IntType(32), ir.IntType(64)
        total = cgutils.alloca_once_value(builder, ir.Constant(eight, [0.0] * 8))
        with cgutils.for_range(builder, given[4]) as loop:
            product = []
            for k, step in ((0, 6), (2, 8)):
                place = builder.mul(loop.index, ir.Constant(whole, step))
                place = builder.add(given[k + 1], place)
                array = pointer(context, builder, kinds[k], given[k], place, eight)
                product.append(builder.load(array, align=4))
            more = builder.fmul(product[0], product[1])
            builder.store(builder.fadd(builder.load(total), more), total)
        both = builder.load(total)
        low, high = (
            builder.shuffle_vector(both, both, ir.Constant(ir.VectorType(index, 4), lanes))
            for lanes in ([0, 1, 2, 6], [3, 4, 5, 7])
        )
        colours = builder.fadd(low, high)
        width = cgutils.unpack_tuple(
            builder, context.make_array(kinds[5])(context, builder, given[5]).shape
        )[1]
        for c in range(3):
            place = builder.add(given[6], builder.mul(width, ir.Constant(whole, c)))
            array = pointer(context, builder, kinds[5], given[5], place, ir.FloatType())
            builder.store(builder.extract_element(colours, ir.Constant(index, c)), array)
        return context.get_dummy_value()

    return types.void(sums, at, weights, first, pairs, planes, x), build


@jit
def _in_pairs(weight):
    """Lay weights (w, taps), taps even, out as `_weigh` wants them."""
    wide = np.zeros((weight.shape[0], weight.shape[1] // 2, 8), np.float32)
    for x in range(weight.shape[0]):
        for k in range(weight.shape[1]):
            for c in range(3):
                wide[x, k // 2, k % 2 * 3 + c] = weight[x, k]
    return wide.ravel()


@jit
def _across(sums, start, wide, pairs, step, planes):
    """Filter one row of sums (interleaved) into planes (3, w)."""
    for x in range(start.size):
        at, first = np.uint64(start[x]), np.uint64(x * step)
        _weigh(sums, at, wide, first, pairs, planes, x)  # pyright: ignore[reportCallIssue]


@jit
def finish(row, planes, cover, y, out):
    """Blend in the border's colour, map levels to values, clip, cut the hole, write the row."""
    red, green, blue = planes[0], planes[1], planes[2]
    if row[BORDER] == FILLED:
        for c in range(3):
            for x in range(cover.size):
                planes[c, x] = row[FILL + c] + cover[x] * (planes[c, x] - row[FILL + c])
    a, b, c, d = row[COLOUR], row[COLOUR + 1], row[COLOUR + 2], row[COLOUR + 3]
    e, f, g, h = row[COLOUR + 4], row[COLOUR + 5], row[COLOUR + 6], row[COLOUR + 7]
    i, j, k, last = row[COLOUR + 8], row[COLOUR + 9], row[COLOUR + 10], row[COLOUR + 11]
    low0, low1, low2 = row[LOW], row[LOW + 1], row[LOW + 2]
    high0, high1, high2 = row[HIGH], row[HIGH + 1], row[HIGH + 2]
    for x in range(red.size):
        u = a * red[x] + b * green[x] + c * blue[x] + d
        v = e * red[x] + f * green[x] + g * blue[x] + h
        w = i * red[x] + j * green[x] + k * blue[x] + last
        u, v, w = max(u, low0), max(v, low1), max(w, low2)
        red[x], green[x], blue[x] = min(u, high0), min(v, high1), min(w, high2)
    if row[HOLE] <= y < row[HOLE + 2]:
        for x in range(max(int(row[HOLE + 1]), 0), min(int(row[HOLE + 3]), red.size)):
            for n in range(3):
                planes[n, x] = row[HOLE_COLOUR + n]
    line, at, one, two, three = out[y].ravel(), *_steps
    for x in range(red.size):
        line[at], line[at + one], line[at + two] = red[x], green[x], blue[x]
        at += three


@entry
def kinds(plan):
    """Tell how each row is drawn: 0 upright, 1 slanted or bent; 2 more if levels pass a table.

    >>> row = np.zeros((1, COLUMNS), np.float32)
    >>> row[0, [MATRIX + 1, TABLE]] = 1
    >>> kinds(row)
    array([3], dtype=uint8)
    """
    result = np.zeros(plan.shape[0], np.uint8)
    for i in range(plan.shape[0]):
        row = plan[i]
        slanted = row[MATRIX + 1] != 0 or row[MATRIX + 3] != 0
        slanted |= row[MATRIX + 6] != 0 or row[MATRIX + 7] != 0
        slanted |= row[LENS] != 0 or row[FIELD] != 0
        toned = row[TABLE] != 0 or row[TABLE + 1] != 256 or row[TABLE + 2] != 8
        toned |= row[SHARP] != 0
        result[i] = int(slanted) + 2 * int(toned)
    return result


@entry
def upright(images, widths, plan, out):
    """Draw maps without rotation, slant or lens: two one-dimensional filters, rows first.

    uint8 (n, H, W * 3) by float32 (n, COLUMNS) into float32 (n, h, w, 3); `widths` is W.

    >>> row = np.zeros((1, COLUMNS), np.float32)
    >>> row[0, [MATRIX, MATRIX + 4, MATRIX + 8, COLOUR, COLOUR + 5, COLOUR + 10]] = 1
    >>> row[0, HIGH:SOURCE] = 255
    >>> out = np.empty((1, 1, 2, 3), np.float32)
    >>> upright(np.arange(6, dtype=np.uint8).reshape(1, 1, 6), 2, row, out); out[0, 0, 1]
    array([3., 4., 5.], dtype=float32)
    """
    h, w = out.shape[1], out.shape[2]
    start_y, start_x = np.empty(h, np.int64), np.empty(w, np.int64)
    cover_y, cover_x, cover = (
        np.empty(h, np.float32),
        np.empty(w, np.float32),
        np.empty(w, np.float32),
    )
    planes = np.empty((3, w), np.float32)
    n, m = images.shape[1], widths
    for at in range(out.shape[0]):
        image, row = images[at], plan[at]
        fy, fx = shrunk(n, float(row[SOURCE])), shrunk(m, float(row[SOURCE + 1]))
        sx, sy = float(row[MATRIX]) * fx, float(row[MATRIX + 4]) * fy
        oy, ox, border = float(row[MATRIX + 5]) * fy, float(row[MATRIX + 2]) * fx, int(row[BORDER])
        weight_y = np.empty((h, _even(min(int(2.0 * max(abs(sy), 1.0)) + 2, n))), np.float32)
        weight_x = np.empty((w, _even(min(int(2.0 * max(abs(sx), 1.0)) + 2, m))), np.float32)
        _taps(sy, oy, float(n), border, start_y, weight_y, cover_y)
        most = _taps(sx, ox, float(m), border, start_x, weight_x, cover_x)
        wide = _in_pairs(weight_x)
        left, right = m, 0
        for x in range(w):
            left, right = min(left, start_x[x]), max(right, min(start_x[x] + most, m))
        for x in range(w):
            start_x[x] = (start_x[x] - left) * 3
        sums = np.zeros((right - left + most) * 3 + 8, np.float32)
        for y in range(h):
            _down(image, start_y[y], weight_y, y, left * 3, (right - left) * 3, sums)
            _across(sums, start_x, wide, _even(most) // 2, weight_x.shape[1] * 4, planes)
            if border == FILLED:
                for x in range(w):
                    cover[x] = cover_y[y] * cover_x[x]
            finish(row, planes, cover, y, out[at])
