"""What a warp needs before it may shrink: the image averaged until sampling cannot alias."""

from collections.abc import Sequence

import numba
import numpy as np


def soften(
    image: np.ndarray, steps: Sequence[float], part: Sequence[int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Average a part of an image for a map that steps over more than a pixel.

    Blocks of pixels, then a triangle over blocks: together as wide as the triangle of an upright
    resize by `steps`, and fine enough that the sampler's own triangle adds little.

    Args:
        image: uint8 (H, W * 3).
        steps: mean steps of the map down and across, pixels.
        part: top, left, bottom, right of what the map uses, pixels.

    Returns:
        uint8 (H', W' * 3) of blocks, and the height and width of a block in pixels.

    >>> small, block = soften(np.full((8, 24), 9, np.uint8), (2.0, 4.0), (0, 0, 8, 8))
    >>> small.shape, block, int(small.min()), int(small.max())
    ((8, 12), (1, 2), 9, 9)
    """
    top, left, bottom, right = part
    by, bx = blocks(steps[0], bottom - top), blocks(steps[1], right - left)
    h, w = (bottom - top) // by, (right - left) // bx
    down, across = triangle(steps[0] / by), triangle(steps[1] / bx)
    if by * bx == 1:
        return _pixels(image, top, left, h, w, _whole(down), _whole(across)), (1, 1)
    return _blocks(image, top, left, h, w, by, bx, down, across), (by, bx)


def blocks(step: float, n: int) -> int:
    """Choose a block's side for a step over n pixels: half to two thirds of the step.

    >>> blocks(1.2, 100), blocks(4.0, 100), blocks(400.0, 100)
    (1, 2, 100)
    """
    return min(max(int(step / 1.5), 1), n)


def triangle(step: float) -> np.ndarray:
    """Weigh the blocks at a distance of 0, 1 and 2 for a step in blocks: float32 (3,).

    >>> triangle(2.0).tolist()
    [0.5, 0.25, 0.0]
    """
    weights = np.maximum(1.0 - np.arange(3) / max(step, 1.0), 0.0)
    return (weights / (weights[0] + 2.0 * weights[1:].sum())).astype(np.float32)


def _whole(weights):
    """Give the weights at a distance of 0, 1 and 2 in 1/256, together 256."""
    near, far = (round(256.0 * float(weight)) for weight in weights[1:])
    return np.array([256 - 2 * (near + far), near, far], np.uint16)


@numba.njit(error_model="numpy")
def _weigh(a, b, c, d, e, weights, result):
    """Weigh five neighbours; 16 bits hold every sum, so that 16 levels fit one instruction."""
    middle, near, far = weights[0], weights[1], weights[2]
    half, bits = np.uint16(128), np.uint16(8)
    if far == 0:
        for i in range(result.size):
            sides = (np.uint16(b[i]) + np.uint16(d[i])) * near
            result[i] = np.uint8((np.uint16(c[i]) * middle + sides + half) >> bits)
    else:
        for i in range(result.size):
            sides = (np.uint16(b[i]) + np.uint16(d[i])) * near
            sides += (np.uint16(a[i]) + np.uint16(e[i])) * far
            result[i] = np.uint8((np.uint16(c[i]) * middle + sides + half) >> bits)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _pixels(image, top, left, h, w, down, across):
    """Weigh every pixel with its neighbours, the usual case, in integers."""
    out, line = np.empty((h, w * 3), np.uint8), np.empty(w * 3 + 12, np.uint8)
    start, stop, last = left * 3, left * 3 + w * 3, image.shape[0] - 1
    for y in range(top, top + h):
        a, b = image[max(y - 2, 0), start:stop], image[max(y - 1, 0), start:stop]
        d, e = image[min(y + 1, last), start:stop], image[min(y + 2, last), start:stop]
        _weigh(a, b, image[y, start:stop], d, e, down, line[6:-6])
        for i in range(6):
            line[i], line[line.size - 6 + i] = line[6 + i % 3], line[line.size - 9 + i % 3]
        a, b, d, e = line[:-12], line[3:-9], line[9:-3], line[12:]
        _weigh(a, b, line[6:-6], d, e, across, out[y - top])
    return out


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _blocks(image, top, left, h, w, by, bx, down, across):
    """Average h x w blocks of by x bx pixels, then weigh by distance in blocks along both axes."""
    out = np.empty((h, w * 3), np.uint8)
    sums, cells = np.zeros(w * bx * 3, np.float32), np.zeros((w + 4) * 3, np.float32)
    near, far, half = across[1], across[2], np.float32(0.5)
    for y in range(h):
        for i in range(sums.size):
            sums[i] = np.float32(0)
        for block in range(-2, 3):
            weight = down[abs(block)] / np.float32(by * bx)
            for k in range(by if weight > np.float32(0) else 0):
                at = min(max(top + (y + block) * by + k, 0), image.shape[0] - 1)
                line = image[at, left * 3 : left * 3 + sums.size]  # from 0: no check for sign
                for i in range(line.size):
                    sums[i] += weight * np.float32(line[i])
        inner = cells[6:-6]
        for i in range(inner.size):
            inner[i] = sums[i] if bx == 1 else np.float32(0)
        for x in range(w if bx > 1 else 0):
            for k in range(bx):
                for c in range(3):
                    inner[x * 3 + c] += sums[(x * bx + k) * 3 + c]
        for c in range(3):
            cells[c] = cells[3 + c] = inner[c]
            cells[cells.size - 3 + c] = cells[cells.size - 6 + c] = inner[inner.size - 3 + c]
        a, b, d, e, result = cells[:-12], cells[3:-9], cells[9:-3], cells[12:], out[y]
        for i in range(result.size):
            value = across[0] * inner[i] + near * (b[i] + d[i]) + far * (a[i] + e[i])
            result[i] = np.uint8(np.int32(value + half))
    return out
