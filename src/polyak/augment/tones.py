"""What no matrix of colours can express, applied before the resample: tables, and sharpness."""

import numba
import numpy as np


def toned(
    image: np.ndarray, spread: float, solarize: float, posterize: float, sharp: float
) -> np.ndarray:
    """Spread the levels, then invert those from `solarize` on, then keep some bits, then sharpen.

    Args:
        image: uint8 (H, W, 3).
        spread: 1 equalizes every channel, 2 stretches it over all levels, 0 neither.
        solarize: the first level to invert; 256 inverts none.
        posterize: 1 to 8 bits; 8 keeps all.
        sharp: 0 changes nothing, -1 takes the mean of neighbours, 1 goes as far the other way.

    Returns:
        uint8 (H, W, 3), a new image.

    Source: Pillow's ImageOps and ImageEnhance, the operations of AutoAugment (Cubuk et al. 2019).

    >>> toned(np.array([[[0, 100, 200]]], np.uint8), 0, 128, 8, 0).tolist()
    [[[0, 100, 55]]]
    """
    levels = np.arange(256)
    if spread:
        table = _equal if spread == 1 else _stretched
        tables = np.stack([table(image[..., c]) for c in range(3)])
    else:
        tables = np.stack([levels] * 3)
    tables = np.where(tables >= solarize, 255 - tables, tables)
    keep = 2 ** (8 - int(posterize))
    result = np.empty_like(image, order="C")
    _look_up(np.ascontiguousarray(image).ravel(), (tables // keep * keep).astype(np.uint8), result)
    return _sharpened(result, np.float32(1.0 + sharp)) if sharp else result


def _stretched(channel):
    low, high = int(channel.min()), int(channel.max())
    if low == high:
        return np.arange(256)
    return np.clip((np.arange(256) - low) * (255.0 / (high - low)), 0, 255).astype(np.int64)


def _equal(channel):
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
    if step == 0:
        return np.arange(256)
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.minimum((step // 2 + below) // step, 255)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _look_up(flat, tables, result):
    out = result.ravel()
    for i in range(0, flat.size, 3):
        for c in range(3):
            out[i + c] = tables[c, flat[i + c]]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _sharpened(image, factor):
    """Blend with the mean over 3x3 pixels, the middle five times; the outermost stay."""
    result = image.copy()
    height, width, _ = image.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            for c in range(3):
                total = 4 * int(image[y, x, c])
                for v in range(y - 1, y + 2):
                    for u in range(x - 1, x + 2):
                        total += int(image[v, u, c])
                smooth = np.float32(int(total / 13 + 0.5))
                value = smooth + factor * (np.float32(image[y, x, c]) - smooth)
                result[y, x, c] = np.uint8(min(max(value, 0), 255))
    return result
