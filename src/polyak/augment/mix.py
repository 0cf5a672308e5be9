"""Mixup and cutmix: pairs of images of a batch, and targets mixed as the images are.

Which pairs and how much is a function of (seed, step, rank); nothing has to be saved to resume.
Sources: Zhang et al., mixup, 2018; Yun et al., CutMix, 2019.
"""

from typing import TYPE_CHECKING

import numpy as np

from polyak import keys
from polyak.errors import UsageError

if TYPE_CHECKING:
    import torch


def soft(labels: "torch.Tensor", classes: int) -> "torch.Tensor":
    """Write labels as targets: int64 (N,) to float32 (N, K), 1 at the label.

    >>> import torch
    >>> soft(torch.tensor([1]), 3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    import torch

    return torch.nn.functional.one_hot(labels, classes).float()


def mixup(
    images: "torch.Tensor",
    targets: "torch.Tensor",
    *,
    seed: int,
    step: int,
    rank: int = 0,
    alpha: float = 0.2,
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Blend every image with another of the batch, one weight from Beta(alpha, alpha) a batch.

    Args:
        images: float (N, C, H, W), any layout and device.
        targets: float (N, K).
        seed: of the run.
        step: counts batches.
        rank: of the process.
        alpha: above 0; 0.2 mixes little, 1 any amount alike.

    Returns:
        new images and targets.

    Raises:
        UsageError: `alpha` is not above 0.

    >>> import torch
    >>> images, targets = mixup(torch.rand(4, 3, 2, 2), torch.eye(4), seed=0, step=0)
    >>> bool(torch.allclose(targets.sum(dim=1), torch.ones(4)))
    True
    """
    kept, other = _draw("mixup", images, alpha, (seed, step, rank))
    return images.lerp(images[other], 1.0 - kept), targets.lerp(targets[other], 1.0 - kept)


def cutmix(
    images: "torch.Tensor",
    targets: "torch.Tensor",
    *,
    seed: int,
    step: int,
    rank: int = 0,
    alpha: float = 1.0,
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Paste a rectangle of another image of the batch into every image, the same place in all.

    Args:
        images: float (N, C, H, W), any layout and device.
        targets: float (N, K).
        seed: of the run.
        step: counts batches.
        rank: of the process.
        alpha: above 0; the kept area is drawn from Beta(alpha, alpha) before clipping at the edge.

    Returns:
        new images, and targets mixed by the area that was really pasted.

    Raises:
        UsageError: `alpha` is not above 0.

    >>> import torch
    >>> images, targets = cutmix(torch.rand(4, 3, 8, 8), torch.eye(4), seed=0, step=0)
    >>> bool(torch.allclose(targets.sum(dim=1), torch.ones(4)))
    True
    """
    kept, other = _draw("cutmix", images, alpha, (seed, step, rank))
    height, width = images.shape[-2:]
    v, u = keys.uniform("cutmix place", seed, step, rank, np.arange(2))
    half = (1.0 - kept) ** 0.5 / 2
    top, bottom = (round(min(max(v + side, 0.0), 1.0) * height) for side in (-half, half))
    left, right = (round(min(max(u + side, 0.0), 1.0) * width) for side in (-half, half))
    result = images.clone()
    result[..., top:bottom, left:right] = images[other][..., top:bottom, left:right]
    pasted = (bottom - top) * (right - left) / (height * width)
    return result, targets.lerp(targets[other], pasted)


def _draw(purpose, images, alpha, counters):
    """Draw the share that every image keeps, and the other image of each pair."""
    import torch

    if not 0.0 < alpha < float("inf"):
        raise UsageError("bad parameter", where=f"{purpose}(alpha)", why=f"{alpha} is not above 0")
    seed, step, rank = counters
    generator = np.random.default_rng(keys.key(f"{purpose} weight", seed, step, rank))
    kept = float(generator.beta(alpha, alpha))
    order = keys.permutation(f"{purpose} pairs {rank}", seed, step, len(images))
    return kept, torch.from_numpy(order).to(images.device)
