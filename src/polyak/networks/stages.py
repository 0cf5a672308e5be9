"""Stages of a network in depth order, and what each says of an image: its pooled features.

The network's own forward pass runs, whole; features are read off while it does. So they are what
the network itself computes, whatever its kind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polyak.networks.compact import Compact
from polyak.networks.head import head_names

HEAD = "head"  # the stage that a network's own head reads
MOST = 5  # blocks of a deep chain that are looked at, evenly spaced


def stages(network: nn.Module) -> dict[str, int]:
    """Name the stages of a network, first to last, each with its number of features.

    The last is always "head": what the network's own head reads. A convolutional stage is pooled to
    the mean and the maximum of each channel; tokens to the first prefix token where there is one,
    mean and maximum of the others.

    Args:
        network: made by `build`, on the CPU or elsewhere; runs once on a black image.

    >>> stages(Compact(2, (8, 8), (4, 6)))
    {'stages.0': 8, 'stages.1': 12, 'head': 6}
    """
    names = [*_candidates(network), HEAD]
    training = network.training
    device = next(network.parameters()).device
    with tapped(network.eval(), names) as found, torch.no_grad():
        network(torch.zeros(1, 3, *input_size(network), device=device))
    network.train(training)
    return {name: found[name].shape[1] for name in names if name in found}


@contextmanager
def tapped(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Read pooled features (N, D) off every forward pass, by name of the stage.

    >>> network = Compact(2, (8, 8), (4, 6))
    >>> with tapped(network, ["head"]) as found:
    ...     logits = network(torch.rand(3, 3, 8, 8))
    >>> found["head"].shape
    torch.Size([3, 6])
    """
    found: dict[str, Tensor] = {}
    info = _info(network)
    prefix = int(getattr(network, "num_prefix_tokens", 0) or 0)
    last = getattr(network, "output_fmt", "NCHW") == "NHWC"

    def keep(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and 2 <= output.ndim <= 4:
            width = info.get(name)
            channels_last = last or (width is not None and width != output.shape[1])
            found[name] = pooled(output, prefix, channels_last and output.ndim == 4)

    def keep_head(number: int, inputs: tuple) -> None:
        features = inputs[0].flatten(1) if inputs[0].ndim == 4 else pooled(inputs[0], 0)
        found[HEAD] = features if number == 0 else torch.cat([found[HEAD], features], 1)

    handles = []
    for name in names:
        if name == HEAD:
            for number, part in enumerate(head_names(network)):
                hook = lambda _, inputs, number=number: keep_head(number, inputs)  # noqa: E731
                handles.append(network.get_submodule(part).register_forward_pre_hook(hook))
        else:
            hook = lambda _, __, output, name=name: keep(name, output)  # noqa: E731
            handles.append(network.get_submodule(name).register_forward_hook(hook))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def pooled(output: Tensor, prefix: int = 0, channels_last: bool = False) -> Tensor:
    """Pool what a stage says of each image: (N, D).

    Args:
        output: (N, D), tokens (N, T, D), or maps (N, C, h, w).
        prefix: tokens that stand before those of the image.
        channels_last: maps are (N, h, w, C).

    >>> pooled(torch.tensor([[[[1.0, 3.0]], [[0.0, 8.0]]]])).tolist()
    [[2.0, 4.0, 3.0, 8.0]]
    """
    if output.ndim == 2:
        return output
    if output.ndim == 3:
        first, tokens = output[:, :prefix][:, :1].flatten(1), output[:, prefix:]
        return torch.cat([first, tokens.mean(1), tokens.amax(1)], 1)
    space = (1, 2) if channels_last else (2, 3)
    return torch.cat([output.mean(space), output.amax(space)], 1)


def input_size(network: nn.Module) -> tuple[int, int]:
    """Give the (height, width) that a network was made for.

    >>> input_size(Compact(2, (8, 16)))
    (8, 16)
    """
    if isinstance(network, Compact):
        height, width = network.size
        return height, width
    config: Any = getattr(network, "pretrained_cfg", {})
    asked = getattr(getattr(network, "patch_embed", None), "img_size", None)
    height, width = asked or config["input_size"][1:]
    return int(height), int(width)


def _info(network: nn.Module) -> dict[str, int]:
    """Modules that end a stage and their channels, as timm tells them."""
    table: Any = getattr(network, "feature_info", None)
    rows = list(table) if isinstance(table, list) else getattr(table, "info", [])
    return {row["module"]: row["num_chs"] for row in rows if row.get("module")}


def _candidates(network: nn.Module) -> list[str]:
    if isinstance(network, Compact):
        return [f"stages.{number}" for number in range(len(network.widths))]
    modules = {name for name, _ in network.named_modules()}
    names = [name for name in _info(network) if name in modules]
    if len(names) > MOST + 1:  # a chain of equal blocks
        names = [names[(number + 1) * len(names) // MOST - 1] for number in range(MOST)]
    return names
