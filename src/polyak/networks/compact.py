"""polyak's own network, for images up to 64 pixels and minutes of training.

A frozen first layer that whitens the data's own patches, then a few wide pairs of convolutions
with max pooling, started as identities, normalised without a learnt scale. Source: Jordan, "94 % on
CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498; the activation and the widths are
chosen for processors without a GPU (docs/log.md).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 2  # pixels a side of a whitened patch
SIDE = 3  # pooling stops here: a 3x3 convolution on less sees mostly padding
LOGIT_SCALE = 1 / 9
# the smallest share of the strongest direction's variance that is signal: below it lies rounding
# (grey images have eight such directions of twelve)
NOISE = 1e-6

REFERENCE = (32, 128, 128)  # widths whose speed `widths_for` starts from
REFERENCE_EPOCHS = 9.0  # what they are the right size for, on 45,000 images

# how to train it (docs/log.md); the learning rate belongs to momentum 0.85 and is in proportion to
# the batch
MOMENTUM = 0.85
# peak rate for an image of the batch, by rule: Nesterov's tuned, the others from sweeps (log.md)
RATE_PER_PICTURE = {
    "nesterov": 3 / 1024, "momentum": 3 / 1024, "sgd": 1 / 64, "rmsprop": 1 / 16_000,
    "adam": 1 / 6_400, "adamw": 1 / 6_400, "nadam": 1 / 6_400,
}  # fmt: skip
MUON_RATE = 0.05  # at batches of 128; the rate of Nesterov beside it is its own
WEIGHT_DECAY = 0.0013
LABEL_SMOOTHING = 0.2


class Compact(nn.Module):
    """Classify small images: float32 (N, 3, height, width) to logits (N, classes).

    Args:
        classes: how many, at least 2.
        size: (height, width) of the images, each at least 8 pixels.
        widths: channels of each pair of convolutions, first to last.

    Raises:
        ValueError: fewer than 2 classes, a side under 8 pixels, or widths out of range.

    Call `whiten` once before training. Starting weights are a function of torch's seed.

    >>> network = Compact(classes=10, size=(8, 8), widths=(8, 16))
    >>> network.whiten(torch.rand(64, 3, 8, 8))
    >>> network(torch.rand(5, 3, 8, 8)).shape
    torch.Size([5, 10])
    """

    whitening: Tensor

    def __init__(
        self,
        classes: int,
        size: tuple[int, int] = (32, 32),
        widths: Sequence[int] = REFERENCE,
    ):
        super().__init__()
        _check(classes, size, widths)
        self.classes = classes
        self.size: tuple[int, ...] = tuple(size)
        self.widths: tuple[int, ...] = tuple(widths)
        # from 48 pixels the first layer strides: an image costs what one of half its size does
        self.stride = 2 if min(size) >= 48 else 1
        channels = 2 * 3 * PATCH * PATCH
        self.register_buffer("whitening", torch.zeros(channels, 3, PATCH, PATCH))
        self.whitening_bias: nn.Parameter = nn.Parameter(torch.zeros(channels))
        side = [(n - PATCH) // self.stride + 1 for n in size]
        stages = []
        for width in widths:
            pool = tuple(2 if n // 2 >= SIDE else 1 for n in side)
            side = [n // p for n, p in zip(side, pool, strict=True)]
            stages.append(_stage(channels, width, pool))
            channels = width
        self.stages: nn.Sequential = nn.Sequential(*stages)
        self.head: nn.Linear = nn.Linear(channels, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, classes) of normalised images (N, 3, height, width)."""
        return self.head(self.features(images)) * LOGIT_SCALE

    def features(self, images: Tensor) -> Tensor:
        """Compute what the head reads: (N, widths[-1]), the strongest answer of each channel.

        >>> Compact(2, (8, 8), (4, 6)).features(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 6])
        """
        x = functional.conv2d(images, self.whitening, self.whitening_bias, self.stride)
        return self.stages(functional.relu(x)).amax(dim=(2, 3))

    @staticmethod
    def widths_for(speed: float, seconds: float, images: int) -> tuple[int, ...]:
        """Choose widths that a machine can train well in a given time.

        The time an image takes grows with the square of the widths. More time is spent on both,
        wider and longer: widths grow with its fourth root, epochs with its square root. Few
        images earn no great width.

        Args:
            speed: images a second that REFERENCE trains at here, at the size in question.
            seconds: for training alone.
            images: to train on.

        Returns:
            Channels of each stage, multiples of 8.

        Raises:
            ValueError: an argument is not above zero.

        >>> Compact.widths_for(speed=750, seconds=540, images=45_000)
        (32, 128, 128)
        >>> Compact.widths_for(speed=12_000, seconds=540, images=45_000)
        (64, 256, 256)
        """
        if not min(speed, seconds, images) > 0:
            raise ValueError("speed, seconds and images must be above zero")
        affordable = (speed * seconds / images / REFERENCE_EPOCHS) ** 0.25
        useful = 2 * (images / 45_000) ** 0.25
        scale = min(max(min(affordable, useful), 0.5), 4.0)
        return tuple(max(16, round(width * scale / 8) * 8) for width in REFERENCE)

    @torch.no_grad()
    def whiten(self, images: Tensor, eps: float = 5e-4) -> None:
        """Set the first layer to the principal directions of the images' patches, both signs.

        Args:
            images: float32 (N, 3, height, width), normalised training images; 5,000 are plenty.
            eps: added to each direction's variance before it is divided out.

        Raises:
            ValueError: the images are not (N, 3, height, width), not finite, or hold fewer
                patches than a covariance needs.

        Source: arXiv 2404.00498, section 3.2.

        >>> network = Compact(2, (8, 8)); network.whiten(torch.rand(64, 3, 8, 8))
        >>> bool((network.whitening[:12] == -network.whitening[12:]).all())
        True
        """
        variances, directions = torch.linalg.eigh(_patch_covariance(images, self.stride))
        # an eigenvector's sign is arbitrary: fix it, so that two machines agree
        strongest = directions.abs().argmax(dim=0, keepdim=True)
        directions = directions * directions.gather(0, strongest).sign()
        filters = directions / (variances.clamp(min=0) + eps).sqrt()
        filters[:, variances <= NOISE * variances.max()] = 0
        filters = filters.T.flip(0).reshape(-1, 3, PATCH, PATCH)
        self.whitening.copy_(torch.cat([filters, -filters]))

    def parameter_groups(
        self, learning_rate: float, weight_decay: float = 0.0, bias_factor: float = 64.0
    ) -> list[dict[str, Any]]:
        """Split the learnt parameters for an optimizer: biases learn faster and decay as slowly.

        Args:
            learning_rate: of the convolutions and the head.
            weight_decay: of the convolutions and the head (L2, as in torch's SGD).
            bias_factor: how many times the learning rate of biases; their weight decay is divided
                by it, so that the product stays.

        Returns:
            Two groups with `params`, `lr`, `weight_decay`.

        Source: arXiv 2404.00498, section 3.1 (after tysam-code's hlb-CIFAR10).

        >>> [group["lr"] for group in Compact(2).parameter_groups(0.5)]
        [0.5, 32.0]
        """
        learnt = [p for p in self.parameters() if p.requires_grad]
        return [
            {
                "params": [p for p in learnt if p.ndim > 1],
                "lr": learning_rate,
                "weight_decay": weight_decay,
            },
            {
                "params": [p for p in learnt if p.ndim == 1],
                "lr": learning_rate * bias_factor,
                "weight_decay": weight_decay / bias_factor,
            },
        ]


def _check(classes: int, size: tuple[int, int], widths: Sequence[int]) -> None:
    if classes < 2:
        raise ValueError(f"classes is {classes}; a classifier needs at least 2")
    if len(size) != 2 or min(size) < 8:
        raise ValueError(f"size is {size}; give (height, width), each at least 8 pixels")
    if not 1 <= len(widths) <= 8 or not 1 <= min(widths) <= max(widths) <= 4096:
        raise ValueError(f"widths is {widths}; give 1 to 8 stages of 1 to 4096 channels each")


def _stage(channels: int, width: int, pool: tuple[int, ...]) -> nn.Sequential:
    pooling = nn.MaxPool2d(pool) if max(pool) > 1 else nn.Identity()
    return nn.Sequential(
        _convolution(channels, width),
        pooling,
        _norm(width),
        nn.ReLU(),
        _convolution(width, width),
        _norm(width),
        nn.ReLU(),
    )


def _convolution(channels: int, width: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    # the first channels pass through unchanged; the others keep torch's random start
    nn.init.dirac_(convolution.weight.data[:channels])
    return convolution


def _norm(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width, momentum=0.4)  # few steps: the statistics must keep up
    norm.weight.requires_grad_(False)
    return norm


def _patch_covariance(images: Tensor, stride: int) -> Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < PATCH:
        raise ValueError(f"whiten wants (N, 3, height, width), got {tuple(images.shape)}")
    patches = images.unfold(2, PATCH, stride).unfold(3, PATCH, stride)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH * PATCH).double()
    if len(patches) < 2 * patches.shape[1]:
        raise ValueError(f"{len(patches)} patches are too few to whiten by; give more images")
    if not bool(torch.isfinite(images).all()):
        raise ValueError("an image to whiten by holds a number that is not finite")
    columns = patches.T
    columns -= columns.mean(1, keepdim=True)  # in place: torch.cov makes a copy of a gigabyte
    return columns @ columns.T / (columns.shape[1] - 1)
