"""Draw it: a picture and a row of a plan in, normalised pixels out, one resample from source to
batch.

Interpolation is bilinear; shrinking widens the triangle by the factor (antialiased, Pillow's
BILINEAR); an output pixel that falls on an input pixel is that pixel, exactly. Outside the
picture: its reflection about the edge, its edge, or a colour. Rendering is pure: the same
picture and row give the same bytes.
"""

import numpy as np

from polyak.augment.kernels import COLUMNS, draw, draw_batch
from polyak.errors import UsageError


def render(image: np.ndarray, row: np.ndarray, out: np.ndarray) -> None:
    """Draw one picture into its place of the batch, without the interpreter lock.

    Args:
        image: uint8 (H, W, 3), at least 1x1; may be decoded at 1/2, 1/4 or 1/8 size.
        row: float32 (COLUMNS,); one row of `Policy.plan`.
        out: float32 (h, w, 3), contiguous; overwritten.

    Raises:
        UsageError: a shape or dtype differs from the above.

    >>> from polyak.augment import Policy
    >>> plan = Policy.centre(1.0).plan(0, 0, [0], [(2, 2)], (2, 2), (0, 0, 0), (1, 1, 1))
    >>> out = np.empty((2, 2, 3), np.float32)
    >>> render(np.full((2, 2, 3), 255, np.uint8), plan[0], out); float(out.min())
    1.0
    """
    _check(image, 3, row, 1, out)
    draw(np.ascontiguousarray(image), row, out)


def render_batch(images: np.ndarray, plan: np.ndarray, out: np.ndarray) -> None:
    """Draw pictures of one size in one call, without the interpreter lock.

    Args:
        images: uint8 (n, H, W, 3).
        plan: float32 (n, COLUMNS).
        out: float32 (n, h, w, 3), contiguous; overwritten.

    Raises:
        UsageError: a shape or dtype differs from the above.

    >>> from polyak.augment import Policy
    >>> plan = Policy.centre(1.0).plan(0, 0, [0], [(2, 2)], (1, 1), (0, 0, 0), (1, 1, 1))
    >>> out = np.empty((1, 1, 1, 3), np.float32)
    >>> render_batch(np.full((1, 2, 2, 3), 51, np.uint8), plan, out); out.round(4)
    array([[[[0.2, 0.2, 0.2]]]], dtype=float32)
    """
    _check(images, 4, plan, 2, out)
    if not len(images) == len(plan) == len(out):
        counts = f"{len(images)} pictures, {len(plan)} rows, {len(out)} places"
        raise UsageError("cannot render", where="the batch", why=counts)
    draw_batch(np.ascontiguousarray(images), plan, out)


def _check(image, dimensions, row, row_dimensions, out):
    if image.dtype != np.uint8 or image.ndim != dimensions or image.shape[-1] != 3:
        why = f"{image.dtype} {image.shape} is not uint8 with 3 channels last"
        raise UsageError("cannot render", where="image", why=why)
    if 0 in image.shape[-3:-1]:
        raise UsageError("cannot render", where="image", why=f"{image.shape} holds no pixel")
    if row.dtype != np.float32 or row.ndim != row_dimensions or row.shape[-1] != COLUMNS:
        why = f"{row.dtype} {row.shape} is not float32 with {COLUMNS} columns"
        raise UsageError("cannot render", where="plan", why=why)
    if out.dtype != np.float32 or out.ndim != dimensions or out.shape[-1] != 3:
        why = f"{out.dtype} {out.shape} is not float32 with 3 channels last"
        raise UsageError("cannot render", where="out", why=why)
