"""Colour as maps of RGB: 3x4 matrices on (red, green, blue, 1), values in [0, 1], composed into
one.

Nothing is clipped between the maps of a chain; the renderer clips once, at the end. Chains of
separate operations (torchvision, albumentations) clip after each, which differs where a middle
result leaves [0, 1].
"""

import numpy as np
from numpy.typing import ArrayLike

GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma, as Pillow and torchvision


def identity(n: int) -> np.ndarray:
    """Leave colours alone: float64 (n, 3, 4).

    >>> identity(2).shape
    (2, 3, 4)
    """
    return np.broadcast_to(np.eye(3, 4), (n, 3, 4)).copy()


def compose(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Apply `first`, then `then`, as one map (..., 3, 4).

    >>> both = compose(brightness(0.5), brightness(4.0))
    >>> bool(np.allclose(both, brightness(2.0)))
    True
    """
    result = then[..., :3] @ first
    result[..., 3] += then[..., 3]
    return result


def brightness(factor: ArrayLike) -> np.ndarray:
    """Multiply every value.

    >>> brightness(0.5) @ [1.0, 0.5, 0.25, 1.0]
    array([0.5  , 0.25 , 0.125])
    """
    return _blend(np.eye(3, 4) * 0.0, factor)


def contrast(factor: ArrayLike, pivot: ArrayLike = 0.5) -> np.ndarray:
    """Push values away from (or to) the grey `pivot`; torchvision takes each image's mean.

    >>> contrast(2.0) @ [0.75, 0.5, 0.25, 1.0]
    array([1. , 0.5, 0. ])
    """
    pivot = np.asarray(pivot, dtype=np.float64)
    flat = np.zeros((*pivot.shape, 3, 4))
    flat[..., 3] = pivot[..., None]
    return _blend(flat, factor)


def saturation(factor: ArrayLike) -> np.ndarray:
    """Blend with the grey image: 0 is grey, 1 leaves it, 2 doubles the distance to grey.

    >>> np.round(saturation(0.0) @ [1.0, 0.0, 0.0, 1.0], 3)
    array([0.299, 0.299, 0.299])
    """
    return _blend(np.vstack([GREY] * 3) @ np.eye(3, 4), factor)


def normalise(mean: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Subtract `mean` and divide by `std`, three numbers each in units of [0, 1].

    >>> normalise([0.5] * 3, [0.25] * 3) @ [1.0, 0.5, 0.0, 1.0]
    array([ 2.,  0., -2.])
    """
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    return np.concatenate([np.diag(1.0 / std), (-mean / std)[:, None]], axis=1)


def _blend(other: np.ndarray, factor: ArrayLike) -> np.ndarray:
    factor = np.asarray(factor, dtype=np.float64)[..., None, None]
    return factor * np.eye(3, 4) + (1.0 - factor) * other


def hue(degrees: ArrayLike) -> np.ndarray:
    """Turn colours about the grey axis, keeping luma: a rotation in YIQ, as on television.

    torchvision turns HSV's hexagon instead, which is no matrix and keeps the largest channel.

    >>> np.round(hue(180.0) @ [0.5, 0.5, 0.5, 1.0], 6)
    array([0.5, 0.5, 0.5])
    """
    angle = np.deg2rad(np.asarray(degrees, dtype=np.float64))
    turn = np.zeros((*angle.shape, 3, 3))
    turn[..., 0, 0] = 1.0
    turn[..., 1, 1] = turn[..., 2, 2] = np.cos(angle)
    turn[..., 1, 2], turn[..., 2, 1] = -np.sin(angle), np.sin(angle)
    return np.linalg.inv(YIQ) @ turn @ YIQ @ np.eye(3, 4)


def lighting(amounts: ArrayLike) -> np.ndarray:
    """Add amounts (..., 3) of the three principal components of ImageNet's colours.

    Source: Krizhevsky et al., ImageNet classification with deep CNNs, 2012, section 4.1.

    >>> np.round(lighting([1.0, 0.0, 0.0])[:, 3], 4)
    array([-0.1234, -0.1263, -0.1269])
    """
    amounts = np.asarray(amounts, dtype=np.float64)
    map = np.broadcast_to(np.eye(3, 4), (*amounts.shape[:-1], 3, 4)).copy()
    map[..., 3] = (amounts * _SPREADS) @ _COMPONENTS.T
    return map


# the components and spreads that AlexNet's followers share (fb.resnet.torch, Lighting)
_SPREADS = np.array([0.2175, 0.0188, 0.0045])
_COMPONENTS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)
YIQ = np.array([GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
