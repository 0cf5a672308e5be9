"""A network with one linear head on the pooled features of several of its stages."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polyak.networks.head import head_names
from polyak.networks.stages import HEAD, stages, tapped


class Staged(nn.Module):
    """Classify by what several stages say of an image: (N, 3, h, w) to logits (N, classes).

    Args:
        backbone: made by `build`; its own head goes.
        names: stages of it, see `stages`.
        classes: how many.

    Raises:
        ValueError: an unknown stage, or none.

    Source: the lecture's 2x2 table, "linear classifiers from different stages".

    >>> from polyak.networks.compact import Compact
    >>> network = Staged(Compact(2, (8, 8), (4, 6)), ("stages.0", "head"), 3)
    >>> network(torch.rand(5, 3, 8, 8)).shape, network.head.in_features
    (torch.Size([5, 3]), 14)
    """

    def __init__(self, backbone: nn.Module, names: Sequence[str], classes: int):
        super().__init__()
        widths = stages(backbone)
        unknown = [name for name in names if name not in widths]
        if unknown or not names or len(set(names)) < len(names):
            raise ValueError(f"stages {list(names)}: choose from {', '.join(widths)}")
        self.names: tuple[str, ...] = tuple(names)
        self.num_classes = classes
        for name in head_names(backbone):
            backbone.set_submodule(name, nn.Identity())
        self.backbone = backbone
        # where what a stage says is replaced by what is known of it, see polyak.transfer.memory
        self.taps: nn.ModuleList = nn.ModuleList(nn.Identity() for _ in names)
        self.head: nn.Linear = nn.Linear(sum(widths[name] for name in names), classes)
        config = {**getattr(backbone, "pretrained_cfg", {}), "classifier": HEAD}
        self.pretrained_cfg: dict[str, Any] = config

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, classes) of normalised images (N, 3, height, width)."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Compute what the head reads: (N, D), one stage after the other."""
        with tapped(self.backbone, self.names) as found:
            self.backbone(images)
        read = (tap(found[name]) for tap, name in zip(self.taps, self.names, strict=True))
        return torch.cat(list(read), 1)


def backbone_of(network: nn.Module) -> nn.Module:
    """Give the network whose stages count: what a `Staged` reads, or the network itself.

    >>> from polyak.networks.compact import Compact
    >>> network = Compact(2, (8, 8), (4, 6))
    >>> backbone_of(Staged(network, ("head",), 3)) is backbone_of(network) is network
    True
    """
    return network.backbone if isinstance(network, Staged) else network
