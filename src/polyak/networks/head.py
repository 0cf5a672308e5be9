"""The last layer of a network: where it is, and how it starts afresh."""

from typing import Any

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


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Name the last layers of a network, those whose rows are the classes.

    >>> head_names(Compact(2))
    ('head',)
    """
    if isinstance(network, Compact):
        return ("head",)
    page: Any = getattr(network, "pretrained_cfg", {})
    names = page.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
