"""The last layer of a network: where it is, and how it starts afresh."""

from typing import Any

import numpy as np
import torch
from torch import nn

from polyak.networks.compact import Compact


def zero_head(network: nn.Module) -> None:
    """Start a network's last layer afresh: zero weights, zero bias, so that every class is even.

    >>> network = Compact(2, (8, 8)); zero_head(network)
    >>> bool(network.head.weight.any())
    False
    """
    for name in head_names(network):
        for parameter in network.get_submodule(name).parameters():
            nn.init.zeros_(parameter)


@torch.no_grad()
def set_head(network: nn.Module, weight: np.ndarray, bias: np.ndarray) -> bool:
    """Write a linear classifier into a network's last layer, where that is one linear layer.

    Args:
        network: changed in place.
        weight: (K, D).
        bias: (K,).

    Returns:
        Whether it could be done.

    >>> set_head(Compact(2, (8, 8), (4, 6)), np.ones((2, 6)), np.zeros(2))  # it has no bias
    False
    """
    names = head_names(network)
    head = network.get_submodule(names[0]) if len(names) == 1 else None
    if isinstance(network, Compact) or not isinstance(head, nn.Linear) or head.bias is None:
        return False
    if head.weight.shape != weight.shape:
        return False
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(bias))
    return True


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Name the last layers of a network, those whose rows are the classes.

    >>> head_names(Compact(2))
    ('head',)
    """
    if isinstance(network, Compact):
        return ("head",)
    config: Any = getattr(network, "pretrained_cfg", {})
    names = config.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
