"""Draw it: an image and a row of a plan in, normalised pixels out, one resample into the batch.

Interpolation is bilinear; shrinking widens the triangle by the factor (antialiased, Pillow's
BILINEAR); an output pixel that falls on an input pixel is that pixel, exactly. Outside the image:
its reflection about the edge, its edge, or a colour. Rendering is pure: the same image and row
give the same bytes, whatever the number of threads.
"""

import numpy as np

from polyak.augment import geometry
from polyak.augment import kernels as row_of
from polyak.augment.soften import soften
from polyak.augment.tones import toned
from polyak.augment.warp import survey, warp
from polyak.errors import UsageError

_STILL = np.zeros((2, 1, 1), np.float32), *np.zeros((2, 1, 5), np.float32)


def render(image: np.ndarray, row: np.ndarray, out: np.ndarray) -> None:
    """Draw one image into its place of the batch, without the interpreter lock.

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
    render_batch(image[None], row[None], out[None])


def render_batch(images: np.ndarray, plan: np.ndarray, out: np.ndarray) -> None:
    """Draw images of one size, without the interpreter lock; one call where no map is slanted.

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
    _check(images, plan, out)
    kinds = row_of.kinds(plan)
    if not kinds.any():
        _upright(images, plan, out)
        return
    for i, kind in enumerate(kinds.tolist()):
        image = images[i]
        if kind >= 2:
            image = toned(image, *plan[i, row_of.TABLE : row_of.COLUMNS].tolist())
        if kind % 2:
            _warp(image, plan[i], out[i])
        else:
            _upright(image[None], plan[i : i + 1], out[i : i + 1])


def _upright(images, plan, out):
    n, height, width, _ = images.shape
    row_of.upright(_own(images).reshape(n, height, width * 3), width, plan, out)


def _warp(image, row, out):
    height, width, _ = image.shape
    flat = _own(image).reshape(height, width * 3)
    sy, sx, *part = survey(row, height, width, out.shape[0], out.shape[1])
    made_of = height, width, 0, 0, 1, 1
    if max(sy, sx) > 1.02:  # less does not show
        flat, block = soften(flat, (sy, sx), part)
        made_of = height, width, part[0], part[1], *block
    if min(flat.shape[0], flat.shape[1] // 3) < 2:  # the sampler looks at 2 x 2 pixels
        flat = _twofold(flat)
    field = _STILL
    if row[row_of.FIELD] != 0:
        cells, key = int(row[row_of.FIELD + 1]), int(row[row_of.FIELD + 2])
        h, w, _ = out.shape
        field = geometry.field(key, cells), geometry.spline(cells, h), geometry.spline(cells, w)
    warp(flat, made_of, row, (sy, sx), field, out)


def _twofold(flat):
    pixels = flat.reshape(flat.shape[0], -1, 3)
    return np.tile(pixels, [2 if n == 1 else 1 for n in pixels.shape]).reshape(
        max(len(pixels), 2), -1
    )


def _own(image):
    # the kernels are compiled once, for memory that could be written to, though they only read
    return image if image.flags.c_contiguous and image.flags.writeable else image.copy(order="C")


def _check(images, plan, out):
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        why = f"{images.dtype} {images.shape[1:]} is not uint8 (height, width, 3)"
        raise UsageError("cannot render", where="image", why=why)
    if images[:1].size >= 2**31:  # offsets into an image are 32 bits
        raise UsageError("cannot render", where="image", why=f"{images.shape[1:]} is over 2 GiB")
    if 0 in images.shape[1:3]:
        raise UsageError("cannot render", where="image", why=f"{images.shape[1:]} holds no pixel")
    if plan.dtype != np.float32 or plan.ndim != 2 or plan.shape[-1] != row_of.COLUMNS:
        why = f"{plan.dtype} {plan.shape} is not float32 with {row_of.COLUMNS} columns"
        raise UsageError("cannot render", where="plan", why=why)
    fits = out.ndim == 4 and out.shape[-1] == 3 and out.flags.c_contiguous
    if out.dtype != np.float32 or not fits or 0 in out.shape[1:3]:
        why = f"{out.dtype} {out.shape[1:]} is not contiguous float32 (height, width, 3)"
        raise UsageError("cannot render", where="out", why=why)
    if not len(images) == len(plan) == len(out):
        why = f"{len(images)} images, {len(plan)} rows, {len(out)} places"
        raise UsageError("cannot render", where="the batch", why=why)


def decode_scale(plan: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Tell how much smaller a JPEG may be decoded: its map still shrinks what is left by 1.5.

    The decoder's averages let through some of what lies beyond the new Nyquist rate; the rest of
    the way down takes that away (a zone plate shows it).

    Args:
        plan: float32 (n, COLUMNS).
        size: (height, width) of the result.

    Returns:
        int64 (n,) of 1, 2, 4 or 8; the image decoded at that fraction is drawn by the same row.

    >>> from polyak.augment import Policy
    >>> sizes = [(900, 1200), (400, 400), (224, 300)]
    >>> plan = Policy.centre().plan(0, 0, range(3), sizes, (224, 224), (0, 0, 0), (1, 1, 1))
    >>> decode_scale(plan, (224, 224)).tolist()
    [2, 1, 1]
    """
    map = plan[:, row_of.MATRIX : row_of.COLOUR].astype(np.float64).reshape(-1, 3, 3)
    corners = np.array([[x, y, 1.0] for x in (0, 1) for y in (0, 1)]) * (size[1], size[0], 1.0)
    depth = (map[:, None, 2] * corners).sum(axis=-1)
    place = map[:, None, :2] @ corners[..., None] / depth[..., None, None]
    # derivative of a projective map by x and y, at every corner
    slope = (map[:, None, :2, :2] - place * map[:, None, 2:, :2]) / depth[..., None, None]
    steps = np.sqrt((slope**2).sum(axis=-1)).min(axis=(1, 2))
    pinch = 3.0 * np.minimum(plan[:, row_of.LENS + 1], 0) + 5.0 * np.minimum(
        plan[:, row_of.LENS + 2], 0
    )
    steps *= np.where(plan[:, row_of.LENS] != 0, np.maximum(1.0 + pinch, 0.0), 1.0)
    powers = np.floor(np.log2(np.maximum(steps / 1.5, 1.0) + 1e-9))
    return 2 ** np.clip(powers, 0, 3).astype(np.int64)
