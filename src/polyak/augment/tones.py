"""Tables of levels: three operations that no matrix can express, applied before the resample."""

import numba
import numpy as np


def toned(image: np.ndarray, equalize: bool, solarize: float, posterize: int) -> np.ndarray:
    """Equalize, then invert the levels from `solarize` on, then keep `posterize` bits.

    Args:
        image: uint8 (H, W, 3).
        equalize: spread every channel's histogram over all levels (Pillow's definition).
        solarize: the first level to invert; 256 inverts none.
        posterize: 1 to 8; 8 keeps all.

    Returns:
        uint8 (H, W, 3), a new picture.

    Source: Pillow's ImageOps, the operations of AutoAugment (Cubuk et al. 2019).

    >>> toned(np.array([[[0, 100, 200]]], np.uint8), False, 128, 8).tolist()
    [[[0, 100, 55]]]
    """
    levels = np.arange(256)
    if equalize:
        tables = np.stack([_equal(image[..., c]) for c in range(3)])
    else:
        tables = np.stack([levels] * 3)
    tables = np.where(tables >= solarize, 255 - tables, tables)
    keep = 2 ** (8 - posterize)
    result = np.empty_like(image, order="C")
    _look_up(np.ascontiguousarray(image).ravel(), (tables // keep * keep).astype(np.uint8), result)
    return result


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
