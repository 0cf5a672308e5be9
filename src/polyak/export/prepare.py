"""Preparing images inside a graph: crop, resize and normalise of any size, as matrix products.

Every test-time view is an upright map, so an image is drawn by one matrix down and one across.
Both are computed from its height and width: an output pixel is a mean of input pixels, weighted by
a triangle that widens when the image shrinks. `augment.kernels` has the same in loops.
"""

import numpy as np
import torch
from torch import Tensor, nn

from polyak.augment import Policy
from polyak.augment import kernels as row_of
from polyak.errors import UsageError
from polyak.networks.preprocessing import Preprocessing


class Prepare(nn.Module):
    """Draw images as one view of them wants: uint8 (N, H, W, 3) to float32 (N, 3, h, w).

    Args:
        preprocessing: size, colours; its crop is the policy's already.
        policy: a test-time view, see `augment.views`.

    Raises:
        UsageError: the policy does more than crop, resize, flip and shift.

    >>> inputs = Preprocessing((2, 2), (0.0,) * 3, (1.0,) * 3, 1.0)
    >>> prepare = Prepare(inputs, Policy.centre(1.0))
    >>> prepare(torch.full((1, 4, 6, 3), 255, dtype=torch.uint8)).shape
    torch.Size([1, 3, 2, 2])
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, preprocessing: Preprocessing, policy: Policy):
        super().__init__()
        self.size: tuple[int, int] = preprocessing.size
        self.lines: tuple[tuple[float, float, float], ...] = lines(policy, preprocessing.size)
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std))[:, None, None])
        self.register_buffer("offset", (-mean / std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Draw and normalise."""
        height, width = (_number(n, images) for n in images.shape[1:3])
        fit = torch.minimum(height / self.size[0], width / self.size[1])
        down = resample(self.lines[0], fit, height, images.shape[1], self.size[0])
        across = resample(self.lines[1], fit, width, images.shape[2], self.size[1])
        rows = torch.matmul(down, images.float().flatten(2))  # (N, h, W * 3)
        rows = rows.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)
        return torch.matmul(rows, across.T) * self.scale + self.offset


def lines(policy: Policy, size: tuple[int, int]) -> tuple[tuple[float, float, float], ...]:
    """Find a view's map as numbers (a, b, c) down and across, good for images of every size.

    Output place i comes from place fit * (a * i + b) + c * n of an image's n pixels, where fit is
    how many of its pixels make one of the result's. Plans of three images tell them.

    Raises:
        UsageError: the map is not upright, or what lies outside is not a reflection.

    >>> lines(Policy.centre(0.5), (8, 8))[0]
    (0.5, -2.0, 0.5)
    """
    height, width = size
    sizes = [(height, width), (2 * height, width), (height, 2 * width)]
    plan = policy.plan(0, 0, np.arange(3), sizes, size, (0, 0, 0), (1, 1, 1))
    if row_of.kinds(plan).any() or (plan[:, row_of.BORDER] != row_of.REFLECT).any():
        why = "only crop, resize, flip and shift are matrices of an image's height and width"
        raise UsageError("cannot export this view", where=str(policy), why=why)
    found = []
    for taller, step, place, n in ((1, 4, 5, height), (2, 0, 2, width)):
        first, other = plan[[0, taller]].astype(np.float64)
        c = (other[row_of.MATRIX + place] - first[row_of.MATRIX + place]) / n
        b = first[row_of.MATRIX + place] - c * n
        found.append((float(first[row_of.MATRIX + step]), float(b), float(c)))
    return tuple(found)


def resample(
    line: tuple[float, float, float], fit: Tensor, length: Tensor, n: int, out: int
) -> Tensor:
    """Weigh n input pixels for each of `out` output pixels along one axis: float32 (out, n).

    Args:
        line: (a, b, c) of `lines`.
        fit: input pixels that make one output pixel, 0-dimensional.
        length: n as a float, 0-dimensional.
        n: pixels of the input.
        out: pixels of the output.

    >>> resample((1.0, 0.0, 0.0), torch.tensor(2.0), torch.tensor(4.0), 4, 2).round(decimals=3)
    tensor([[0.4290, 0.4290, 0.1430, 0.0000],
            [0.0000, 0.1430, 0.4290, 0.4290]])
    """
    a, b, c = line
    places = torch.arange(out, device=fit.device, dtype=torch.float32) + 0.5
    middle = fit * (a * places + b) + c * length
    # outside the picture lies its reflection about the outer edge
    turns = torch.floor(middle / (2 * length) + 0.5)
    middle = torch.minimum((middle - 2 * length * turns).abs(), length)
    centres = torch.arange(n, device=fit.device, dtype=torch.float32) + 0.5
    distance = (centres - middle[:, None]).abs() / (fit * abs(a)).clamp(min=1.0)
    weights = (1 - distance).clamp(min=0.0)
    return weights / weights.sum(1, keepdim=True)


def _number(n, like: Tensor) -> Tensor:
    return torch.scalar_tensor(n, dtype=torch.float32, device=like.device)
