"""The compiled loops that draw a plan's row: one resample, one colour map, one write.

Serial and without the interpreter lock (several Python threads may render at once), single
precision literals, no fastmath. Everything that these kernels call lives in this file, so their
cache on disk cannot go stale. The layout of a plan's row is fixed here for the same reason.
"""

import numba
import numpy as np

MATRIX = 0  # 9 numbers: 3x3 map, output pixel (x, y, 1) to input pixel
COLOUR = 9  # 12 numbers: 3x4 map from levels 0..255 to normalised values
LOW, HIGH = 21, 24  # 3 numbers each: bounds of the normalised values
SOURCE = 27  # 2 numbers: height and width of the picture the map was made for
BORDER = 29  # 0 reflect, 1 edge, 2 colour
FILL = 30  # 3 numbers: border colour in levels 0..255
HOLE = 33  # 4 numbers: top, left, bottom, right in output pixels
HOLE_COLOUR = 37  # 3 numbers, normalised
LENS = 40  # 6 numbers: kind (0 none, 1 radial, 2 fisheye), k1, k2, centre x, centre y, radius
FIELD = 46  # 3 numbers: amplitude in input pixels, cells along the shorter side, key below 2**24
TABLE = 49  # 3 numbers: solarize from this level, posterize to bits, equalize if not 0
COLUMNS = 52

REFLECT, EDGE, FILLED = 0, 1, 2

_jit = numba.njit(nogil=True, cache=True, error_model="numpy", inline="never")
_Image = numba.types.Array(numba.uint8, 3, "C", readonly=True)
_Images = numba.types.Array(numba.uint8, 4, "C", readonly=True)
_Row = numba.types.Array(numba.float32, 1, "C", readonly=True)
_Rows = numba.types.Array(numba.float32, 2, "C", readonly=True)


@_jit
def _fold(c, n, border):
    # reflection is about the outer edge of the picture: ... b a | a b c ...
    if 0.0 <= c <= n:
        return c
    if border != REFLECT:
        return min(max(c, 0.0), n)
    c = c - 2.0 * n * np.floor(c / (2.0 * n))
    return 2.0 * n - c if c > n else c


@_jit
def _taps(scale, offset, n_in, border, start, count, weight, cover):
    """Weigh input pixels by output pixel along one axis: a triangle, widened when shrinking."""
    support = max(abs(scale), 1.0)
    reach = weight.shape[1]
    for i in range(start.size):
        middle = scale * (i + 0.5) + offset
        cover[i] = 1.0
        if border == FILLED:
            inside = min(middle + support / 2, float(n_in)) - max(middle - support / 2, 0.0)
            cover[i] = min(max(inside / support, 0.0), 1.0)
        middle = _fold(middle, float(n_in), border)
        first = max(int(np.ceil(middle - support - 0.5)), 0)
        last = min(int(np.floor(middle + support - 0.5)), n_in - 1)
        total, k = 0.0, 0
        for j in range(first, last + 1):
            w = 1.0 - abs(j + 0.5 - middle) / support
            if k == 0 and w <= 0.0:
                first = j + 1
            elif w > 0.0 and k < reach:
                weight[i, k] = w
                total += w
                k += 1
        start[i], count[i] = first, k
        for j in range(k):
            weight[i, j] = weight[i, j] / total


@_jit
def _paint(row, planes, out):
    """Map one row of levels (3, w) to colours, clip, and write it as (w, 3)."""
    m, low, high = row[COLOUR:LOW], row[LOW:HIGH], row[HIGH:SOURCE]
    red, green, blue = planes[0], planes[1], planes[2]
    for x in range(out.shape[0]):
        r, g, b = red[x], green[x], blue[x]
        out[x, 0] = min(max(m[0] * r + m[1] * g + m[2] * b + m[3], low[0]), high[0])
        out[x, 1] = min(max(m[4] * r + m[5] * g + m[6] * b + m[7], low[1]), high[1])
        out[x, 2] = min(max(m[8] * r + m[9] * g + m[10] * b + m[11], low[2]), high[2])


@_jit
def _hole(row, out):
    top, left = max(int(row[HOLE]), 0), max(int(row[HOLE + 1]), 0)
    bottom, right = min(int(row[HOLE + 2]), out.shape[0]), min(int(row[HOLE + 3]), out.shape[1])
    for y in range(top, bottom):
        for x in range(left, right):
            for c in range(3):
                out[y, x, c] = row[HOLE_COLOUR + c]


@_jit
def _shrunk(n, made_for):
    """Tell the factor from pixels of the plan's picture to pixels of this one (decoded smaller)."""
    if made_for < 1.0 or n == made_for:
        return 1.0
    for power in (2.0, 4.0, 8.0):
        if n == np.ceil(made_for / power):
            return 1.0 / power
    return n / made_for


@_jit
def _upright(image, row, out):
    """Draw a map without rotation, slant or lens: two one-dimensional filters, rows first."""
    n, m = image.shape[0], image.shape[1]
    h, w = out.shape[0], out.shape[1]
    fy, fx = _shrunk(n, float(row[SOURCE])), _shrunk(m, float(row[SOURCE + 1]))
    sx, ox = float(row[MATRIX]) * fx, float(row[MATRIX + 2]) * fx
    sy, oy = float(row[MATRIX + 4]) * fy, float(row[MATRIX + 5]) * fy
    border = int(row[BORDER])
    ry = min(int(2.0 * max(abs(sy), 1.0)) + 2, n)
    rx = min(int(2.0 * max(abs(sx), 1.0)) + 2, m)
    first_y, count_y = np.empty(h, np.int64), np.empty(h, np.int64)
    first_x, count_x = np.empty(w, np.int64), np.empty(w, np.int64)
    weight_y, weight_x = np.empty((h, ry), np.float32), np.empty((w, rx), np.float32)
    cover_y, cover_x = np.empty(h, np.float32), np.empty(w, np.float32)
    _taps(sy, oy, n, border, first_y, count_y, weight_y, cover_y)
    _taps(sx, ox, m, border, first_x, count_x, weight_x, cover_x)
    left, right = m, 0
    for x in range(w):
        left, right = min(left, first_x[x]), max(right, first_x[x] + count_x[x])
    flat = image.reshape(n, m * 3)
    sums = np.empty((right - left) * 3, np.float32)
    planes = np.empty((3, w), np.float32)
    for y in range(h):
        _down(flat, first_y[y], count_y[y], weight_y[y], left * 3, sums)
        _across(sums, first_x, count_x, weight_x, left, planes)
        if border == FILLED:
            _behind(row, cover_y[y], cover_x, planes)
        _paint(row, planes, out[y])


@_jit
def _down(flat, first, count, weight, left, sums):
    for k in range(count):
        line = flat[first + k, left : left + sums.size]
        w = weight[k]
        if k == 0:
            for i in range(sums.size):
                sums[i] = w * np.float32(line[i])
        else:
            for i in range(sums.size):
                sums[i] += w * np.float32(line[i])


@_jit
def _across(sums, first, count, weight, left, planes):
    red, green, blue = planes[0], planes[1], planes[2]
    for x in range(first.size):
        at = (first[x] - left) * 3
        w = weight[x, 0]
        r, g, b = w * sums[at], w * sums[at + 1], w * sums[at + 2]
        for k in range(1, count[x]):
            at += 3
            w = weight[x, k]
            r += w * sums[at]
            g += w * sums[at + 1]
            b += w * sums[at + 2]
        red[x], green[x], blue[x] = r, g, b


@_jit
def _behind(row, cover_y, cover, planes):
    """Blend the border colour in where the output pixel leaves the picture."""
    for c in range(3):
        fill = row[FILL + c]
        for x in range(cover.size):
            planes[c, x] = fill + cover_y * cover[x] * (planes[c, x] - fill)


@numba.njit(
    numba.void(_Image, _Row, numba.float32[:, :, ::1]), nogil=True, cache=True, error_model="numpy"
)
def draw(image, row, out):
    """Draw one picture: uint8 (H, W, 3) by float32 (COLUMNS,) into float32 (h, w, 3).

    >>> row = np.zeros(COLUMNS, np.float32)
    >>> row[[MATRIX, MATRIX + 4, MATRIX + 8, COLOUR, COLOUR + 5, COLOUR + 10]] = 1
    >>> row[HIGH:SOURCE] = 255
    >>> out = np.empty((1, 2, 3), np.float32)
    >>> draw(np.arange(6, dtype=np.uint8).reshape(1, 2, 3), row, out); out[0, 1]
    array([3., 4., 5.], dtype=float32)
    """
    _upright(image, row, out)
    _hole(row, out)


@numba.njit(
    numba.void(_Images, _Rows, numba.float32[:, :, :, ::1]),
    nogil=True,
    cache=True,
    error_model="numpy",
)
def draw_batch(images, plan, out):
    """Draw pictures of one size in one call: uint8 (n, H, W, 3) into float32 (n, h, w, 3).

    >>> draw_batch.nopython_signatures[0].return_type
    none
    """
    for i in range(out.shape[0]):
        _upright(images[i], plan[i], out[i])
        _hole(plan[i], out[i])
