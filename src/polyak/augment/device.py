"""The same plan drawn by torch, for images that already are tensors on a device.

The coordinates are the kernels'; only the sampling is `grid_sample`. Agrees with `render` to about
a level where a map does not shrink; shrinking takes blocks and a triangle over them for every map,
as `render` does for slanted ones.
"""

import numpy as np
import torch
from torch.nn import functional

from polyak.augment import geometry
from polyak.augment import kernels as row_of
from polyak.augment.soften import blocks, triangle
from polyak.augment.warp import survey
from polyak.errors import UsageError


def render_tensor(images: torch.Tensor, plan: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Draw a batch on the device that it lies on.

    Args:
        images: uint8 (N, 3, H, W), any device.
        plan: float32 (N, COLUMNS).
        size: (height, width) of the result.

    Returns:
        float32 (N, 3, h, w), channels last in memory.

    Raises:
        UsageError: the batch is not uint8 with 3 channels, or the plan asks for a table of levels.

    >>> from polyak.augment import Policy
    >>> plan = Policy().plan(0, 0, [0], [(4, 4)], (4, 4), (0, 0, 0), (1, 1, 1))
    >>> float(render_tensor(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8), plan, (4, 4)).min())
    1.0
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        why = f"{images.dtype} {tuple(images.shape)} is not uint8 (N, 3, H, W)"
        raise UsageError("cannot render", where="images", why=why)
    tables = plan[:, row_of.TABLE : row_of.COLUMNS]
    if (tables != np.array([0, 256, 8, 0], np.float32)).any():
        why = "equalize, autocontrast, solarize, posterize and sharpness need all its levels"
        raise UsageError("cannot render on a device", why=why, then="use render")
    n, _, height, width = images.shape
    steps = [survey(row, height, width, *size)[:2] for row in plan]
    xs, ys = _coordinates(plan, size, height, width, images.device)
    levels = torch.empty((n, 3, *size), device=images.device)
    still = [i for i in range(n) if max(steps[i]) <= 1.02]
    if still:
        levels[still] = _sample(images[still].float(), xs[still], ys[still], 1, 1, plan[still])
    for i in set(range(n)) - set(still):
        (sy, sx), one = steps[i], slice(i, i + 1)
        by, bx = blocks(sy, height), blocks(sx, width)
        soft = _softened(images[one].float(), (by, bx), (sy / by, sx / bx))
        levels[one] = _sample(soft, xs[one], ys[one], by, bx, plan[one])
    levels = _covered(levels, plan, steps, (xs, ys), (height, width))
    return _finished(levels, plan).contiguous(memory_format=torch.channels_last)


def _coordinates(plan, size, height, width, device):
    def column(k):
        return torch.from_numpy(plan[:, k].copy()).to(device)[:, None, None]

    y = torch.arange(size[0], device=device)[None, :, None] + 0.5
    x = torch.arange(size[1], device=device)[None, None, :] + 0.5
    m = [column(row_of.MATRIX + k) for k in range(9)]
    depth = m[6] * x + m[7] * y + m[8]
    xs, ys = (m[0] * x + m[1] * y + m[2]) / depth, (m[3] * x + m[4] * y + m[5]) / depth
    kind, k1, k2, u, v, radius = (column(row_of.LENS + k) for k in range(6))
    radius = radius.clamp(min=1.0)
    dx, dy = (xs - u) / radius, (ys - v) / radius
    square = dx * dx + dy * dy
    rho = square.sqrt() * k1.abs()
    bent = torch.where(k1 > 0, rho.clamp(max=1.4).tan(), rho.atan())
    fish = torch.where(rho > 1e-6, bent / rho.clamp(min=1e-6), 1.0)
    grow = torch.where(kind == 1, 1 + square * (k1 + square * k2), fish)
    xs = torch.where(kind == 0, xs, u + dx * radius * grow)
    ys = torch.where(kind == 0, ys, v + dy * radius * grow)
    for i in np.flatnonzero(plan[:, row_of.FIELD]):
        amplitude, cells, key = plan[i, row_of.FIELD : row_of.TABLE].tolist()
        dx, dy = (torch.from_numpy(d).to(device) for d in _moves(int(key), int(cells), size))
        xs[i] += amplitude * dx
        ys[i] += amplitude * dy
    return xs.expand(-1, *size), ys.expand(-1, *size)


def _moves(key, cells, size):
    weights = []
    for n in size:
        spline, dense = geometry.spline(cells, n), np.zeros((n, cells + 3), np.float32)
        for k in range(4):
            dense[np.arange(n), spline[:, 0].astype(int) + k] = spline[:, k + 1]
        weights.append(dense)
    return weights[0] @ geometry.field(key, cells) @ weights[1].T


def _softened(image, block, steps):
    image = functional.avg_pool2d(image, block)
    for axis, step in enumerate(steps):
        side = triangle(step)
        kernel = torch.tensor([*side[:0:-1], *side], device=image.device).expand(3, 1, -1)
        kernel = kernel[..., None] if axis == 0 else kernel[:, :, None]
        pad = (0, 0, 2, 2) if axis == 0 else (2, 2, 0, 0)
        image = functional.conv2d(functional.pad(image, pad, "replicate"), kernel, groups=3)
    return image


def _sample(images, xs, ys, by, bx, plan):
    h, w = images.shape[-2:]
    grid = torch.stack([xs * 2 / (w * bx) - 1, ys * 2 / (h * by) - 1], dim=-1)
    result = torch.empty((len(images), 3, *xs.shape[1:]), device=images.device)
    for reflect in (True, False):
        on = np.flatnonzero((plan[:, row_of.BORDER] == row_of.REFLECT) == reflect).tolist()
        if on:
            mode = "reflection" if reflect else "border"
            result[on] = functional.grid_sample(
                images[on], grid[on], "bilinear", mode, align_corners=False
            )
    return result


def _covered(levels, plan, steps, places, sides):
    filled = plan[:, row_of.BORDER] == row_of.FILLED
    for i in np.flatnonzero(filled):
        cover = torch.ones(levels.shape[-2:], device=levels.device)
        for place, step, side in zip(places, steps[i][::-1], sides[::-1], strict=True):
            at, step = place[i], max(step, 1.0)
            cover = cover * (torch.minimum(at, side - at) / step + 0.5).clamp(0, 1)
        fill = torch.tensor(plan[i, row_of.FILL : row_of.HOLE], device=levels.device)
        levels[i] = fill[:, None, None] + cover * (levels[i] - fill[:, None, None])
    return levels


def _finished(levels, plan):
    rows = torch.from_numpy(plan).to(levels.device)
    colour = rows[:, row_of.COLOUR : row_of.LOW].reshape(-1, 3, 4)
    values = torch.einsum("ncd,ndhw->nchw", colour[..., :3], levels) + colour[..., 3, None, None]
    low, high = rows[:, row_of.LOW : row_of.HIGH], rows[:, row_of.HIGH : row_of.SOURCE]
    values = values.clamp(low[..., None, None], high[..., None, None])
    for i in np.flatnonzero(plan[:, row_of.HOLE + 2] > plan[:, row_of.HOLE]):
        top, left, bottom, right = plan[i, row_of.HOLE : row_of.HOLE_COLOUR].astype(int)
        colours = rows[i, row_of.HOLE_COLOUR : row_of.LENS]
        values[i, :, top:bottom, left:right] = colours[:, None, None]
    return values
