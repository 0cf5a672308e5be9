"""The compiled loops that draw a plan's row: one resample, one colour map, one write.

Serial and without the interpreter lock (several Python threads may render at once), single
precision where it counts, no fastmath. Everything that these kernels call lives in this file, so
their cache on disk cannot go stale; the layout of a plan's row is fixed here for the same reason.
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
FIELD = 46  # 3 numbers: amplitude in input pixels, cells along a side, key below 2**24
TABLE = 49  # 3 numbers: equalize if not 0, solarize from this level, posterize to bits
COLUMNS = 52

REFLECT, FILLED = 0, 2

_entry = numba.njit(nogil=True, cache=True, error_model="numpy")
_jit = numba.njit(error_model="numpy")
_zero, _half, _one, _two = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


@_jit
def _shrunk(n, made_for):
    """Tell the factor from pixels of the plan's picture to pixels of this one (decoded smaller)."""
    for power in (1.0, 2.0, 4.0, 8.0):
        if n == np.ceil(made_for / power):
            return 1.0 / power
    return n / made_for if made_for >= 1.0 else 1.0


@_jit
def _taps(scale, offset, n, border, start, weight, cover):
    """Weigh input pixels by output pixel along one axis: a triangle, widened when shrinking."""
    support = max(abs(scale), 1.0)
    most = 1
    for i in range(start.size):
        middle = scale * (i + 0.5) + offset
        inside = min(middle + support / 2, n) - max(middle - support / 2, 0.0)
        cover[i] = min(max(inside / support, 0.0), 1.0)
        if not 0.0 <= middle <= n:
            if border == REFLECT:  # about the outer edge of the picture: ... b a | a b c ...
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


@_jit
def _down(image, first, weight, y, left, size, sums):
    """Add rows of the picture by weight; a row beyond the last has weight 0 and is not read."""
    for i in range(sums.size):
        sums[i] = _zero
    for k in range(weight.shape[1]):
        w = weight[y, k]
        if w != _zero:
            line = image[first + k, left : left + size]  # indices from 0 need no check for sign
            for i in range(line.size):
                sums[i] += w * np.float32(line[i])


@_jit
def _across(sums, start, weight, most, planes):
    """Filter one row of sums (interleaved) into planes (3, w)."""
    red, green, blue = planes[0], planes[1], planes[2]
    for x in range(start.size):
        at = np.uint64(start[x])
        r, g, b = _zero, _zero, _zero
        for k in range(most):
            w = weight[x, k]
            r += w * sums[at]
            g += w * sums[at + np.uint64(1)]
            b += w * sums[at + np.uint64(2)]
            at += np.uint64(3)
        red[x], green[x], blue[x] = r, g, b


@_jit
def _finish(row, planes, cover, y, out):
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
    for x in range(red.size):
        out[y, x, 0], out[y, x, 1], out[y, x, 2] = red[x], green[x], blue[x]


@_entry
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
        fy, fx = _shrunk(n, float(row[SOURCE])), _shrunk(m, float(row[SOURCE + 1]))
        sx, sy = float(row[MATRIX]) * fx, float(row[MATRIX + 4]) * fy
        oy, ox, border = float(row[MATRIX + 5]) * fy, float(row[MATRIX + 2]) * fx, int(row[BORDER])
        weight_y = np.empty((h, min(int(2.0 * max(abs(sy), 1.0)) + 2, n)), np.float32)
        weight_x = np.empty((w, min(int(2.0 * max(abs(sx), 1.0)) + 2, m)), np.float32)
        _taps(sy, oy, float(n), border, start_y, weight_y, cover_y)
        most = _taps(sx, ox, float(m), border, start_x, weight_x, cover_x)
        left, right = m, 0
        for x in range(w):
            left, right = min(left, start_x[x]), max(right, min(start_x[x] + most, m))
        for x in range(w):
            start_x[x] = (start_x[x] - left) * 3
        sums = np.empty((right - left + most) * 3, np.float32)
        for y in range(h):
            _down(image, start_y[y], weight_y, y, left * 3, (right - left) * 3, sums)
            _across(sums, start_x, weight_x, most, planes)
            for x in range(w):
                cover[x] = cover_y[y] * cover_x[x]
            _finish(row, planes, cover, y, out[at])


@_jit
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


@_jit
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


@_jit
def _inside(cs, n, border, cover, scale):
    """Bring coordinates into the picture by the border's rule; tell in `cover` what was inside."""
    size, most = np.float32(n), np.float32(2 * n)
    if border == FILLED:
        for i in range(cover.size):
            cover[i] *= min(max(min(cs[i], size - cs[i]) / scale + _half, _zero), _one)
    if border == REFLECT:
        for i in range(cs.size):
            cs[i] = abs(cs[i] - most * np.floor(cs[i] / most + _half))
    for i in range(cs.size):
        c = cs[i] if cs[i] > _zero else _zero  # a coordinate that is no number becomes 0
        cs[i] = c if c < size else size


@_jit
def _corners(n, m, xs, ys, at, right, down):
    """Find the top left of the four pixels about each place, and how far off it lies in 1/2048."""
    far_x, far_y = np.int32(max(m - 2, 0)), np.int32(max(n - 2, 0))
    fine, line, step = np.float32(2048), np.int32(m * 3), np.int32(3)
    for x in range(at.size):
        u, v = max(xs[x] - _half, _zero), max(ys[x] - _half, _zero)
        left, top = min(np.int32(u), far_x), min(np.int32(v), far_y)
        right[x] = np.int32(min(u - np.float32(left), _one) * fine + _half)
        down[x] = np.int32(min(v - np.float32(top), _one) * fine + _half)
        at[x] = top * line + left * step


@_jit
def _gather(picture, at, right, down, planes):
    """Sample bilinearly in integers; nothing branches, nothing leaves the picture."""
    red, green, blue, flat = planes[0], planes[1], planes[2], picture.ravel()
    step = np.uint64(3 if picture.shape[1] > 3 else 0)
    line = np.uint64(picture.shape[1] if picture.shape[0] > 1 else 0)
    whole, bits, next, unit = np.int32(2**22), np.int32(11), np.uint64(1), np.float32(2.0**-22)
    for x in range(at.size):
        u, v = right[x], down[x]
        d = u * v
        b, c = (u << bits) - d, (v << bits) - d
        a = whole - (u << bits) - c
        p = np.uint64(at[x])
        q, r = p + step, p + line
        s = r + step
        level = a * np.int32(flat[p]) + b * np.int32(flat[q])
        red[x] = np.float32(np.int32(level + c * np.int32(flat[r]) + d * np.int32(flat[s]))) * unit
        p, q, r, s = p + next, q + next, r + next, s + next
        level = a * np.int32(flat[p]) + b * np.int32(flat[q])
        green[x] = (
            np.float32(np.int32(level + c * np.int32(flat[r]) + d * np.int32(flat[s]))) * unit
        )
        p, q, r, s = p + next, q + next, r + next, s + next
        level = a * np.int32(flat[p]) + b * np.int32(flat[q])
        blue[x] = np.float32(np.int32(level + c * np.int32(flat[r]) + d * np.int32(flat[s]))) * unit


@_jit
def _map(row, n, m):
    """Read a row's map for a picture that may have been decoded smaller than it was planned for."""
    fy = np.float32(_shrunk(n, float(row[SOURCE])))
    fx = np.float32(_shrunk(m, float(row[SOURCE + 1])))
    matrix = np.empty(9, np.float32)
    for i in range(9):
        matrix[i] = row[MATRIX + i] * (fx if i < 3 else fy if i < 6 else _one)
    middle_x, middle_y, radius = row[LENS + 3] * fx, row[LENS + 4] * fy, row[LENS + 5] * fx
    lens = (row[LENS], row[LENS + 1], row[LENS + 2], middle_x, middle_y, radius)
    return matrix, lens, row[FIELD] * fx, row[FIELD] * fy


@_entry
def survey(row, n, m, h, w):
    """Measure a map: mean steps in input pixels, and the part of the picture that it uses.

    >>> row = np.zeros(COLUMNS, np.float32)
    >>> row[[MATRIX + 1, MATRIX + 3, MATRIX + 8]] = 2, 2, 1
    >>> survey(row, 100, 100, 10, 10)[:2]
    (2.0, 2.0)
    """
    matrix, lens, amplitude_x, amplitude_y = _map(row, n, m)
    border, rows, none = int(row[BORDER]), min(h, 17), np.empty(0, np.float32)
    xs, ys = np.empty(w + 1, np.float32), np.empty(w + 1, np.float32)
    next_xs, next_ys = np.empty(w + 1, np.float32), np.empty(w + 1, np.float32)
    total_x, total_y, top, left, bottom, right = 0.0, 0.0, n, m, 0, 0
    for k in range(rows):
        y = k * (h - 1) // max(rows - 1, 1)
        _locate(matrix, lens, y, xs, ys)
        _locate(matrix, lens, y + 1, next_xs, next_ys)
        for x in range(w):
            total_x += (xs[x + 1] - xs[x]) ** 2 + (next_xs[x] - xs[x]) ** 2
            total_y += (ys[x + 1] - ys[x]) ** 2 + (next_ys[x] - ys[x]) ** 2
        _inside(xs, m, border, none, _one)
        _inside(ys, n, border, none, _one)
        for x in range(w):
            left, right = min(left, int(xs[x])), max(right, int(xs[x]) + 1)
            top, bottom = min(top, int(ys[x])), max(bottom, int(ys[x]) + 1)
    sy, sx = np.sqrt(total_y / (rows * w)), np.sqrt(total_x / (rows * w))
    gap = h / rows + 1.0  # what lies between the rows looked at
    more_y, more_x = (
        int(min(gap * sy + amplitude_y, n)) + 2,
        int(min(gap * sx + amplitude_x, m)) + 2,
    )
    top, left = max(top - more_y, 0), max(left - more_x, 0)
    return sy, sx, top, left, min(bottom + more_y, n), min(right + more_x, m)


@_entry
def warp(picture, made_of, row, steps, field, out):
    """Draw any map by sampling bilinearly a picture, or a softened part of it.

    uint8 (H', W' * 3) into float32 (h, w, 3). `made_of`: the whole picture's height and width, the
    part's top and left in it, height and width of a block. `steps`: of the map. `field`:
    `geometry.field`, then `geometry.spline` by rows and by columns.

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
    h, w, border = out.shape[0], out.shape[1], int(row[BORDER])
    xs, ys, cover = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.float32)
    at, right, down = np.empty(w, np.int32), np.empty(w, np.int32), np.empty(w, np.int32)
    planes = np.empty((3, w), np.float32)
    sy, sx = np.float32(max(steps[0], 1.0)), np.float32(max(steps[1], 1.0))
    for y in range(h):
        _locate(matrix, lens, y, xs, ys)
        if amplitude_x != _zero:
            _displace(field[0], amplitude_x, amplitude_y, field[1][y], field[2], xs, ys)
        for x in range(w):
            cover[x] = _one
        _inside(xs, m, border, cover, sx)
        _inside(ys, n, border, cover, sy)
        if picture.shape[0] != n or picture.shape[1] != m * 3 or by * bx != 1:
            for x in range(w):
                xs[x] = (xs[x] - np.float32(left)) / np.float32(bx)
                ys[x] = (ys[x] - np.float32(top)) / np.float32(by)
        _corners(picture.shape[0], picture.shape[1] // 3, xs, ys, at, right, down)
        _gather(picture, at, right, down, planes)
        _finish(row, planes, cover, y, out)
