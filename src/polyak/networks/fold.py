"""Batch norm folded into the convolutions before it: the same function, fewer passes."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import BatchNorm2d

from polyak.networks.stages import input_size

TOLERANCE = 1e-4  # of the largest logit; what rounding alone may change


def folded(network: nn.Module) -> nn.Module:
    """Copy a network for inference, its batch norms folded into the convolutions before them.

    Which norm follows which convolution is seen in a forward pass, not guessed from names; where
    the copy does not compute what the network does, a plain copy is returned.

    Args:
        network: on its device.

    Returns:
        A copy in evaluation mode without gradients.

    >>> from polyak.networks.compact import Compact
    >>> network = Compact(2, (8, 8), (4, 6)).eval(); images = torch.rand(2, 3, 8, 8)
    >>> bool(torch.allclose(folded(network)(images), network(images), atol=1e-5))
    True
    """
    plain = copy.deepcopy(network).eval().requires_grad_(False)
    device = next(plain.parameters()).device
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *input_size(plain), generator=noise).to(device)
    result = copy.deepcopy(plain)
    with torch.no_grad():
        for convolution, norm in _pairs(result, images):
            _fold(result, convolution, norm)
        before, after = plain(images), result(images)
    close = (before - after).abs().max() <= TOLERANCE * before.abs().max()
    return result if bool(close) else plain


def _pairs(network: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, BatchNorm2d]]:
    """Find each norm that directly follows a convolution."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # the tensor too: its id must stay taken
    pairs = []

    def see(module: nn.Module, inputs: tuple, output: Any) -> None:
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module, output
        elif isinstance(module, BatchNorm2d) and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    kinds = nn.Conv2d, BatchNorm2d
    handles = [m.register_forward_hook(see) for m in network.modules() if isinstance(m, kinds)]
    network(images)
    for handle in handles:
        handle.remove()
    uses = [module for pair in pairs for module in pair]
    return [pair for pair in pairs if all(uses.count(module) == 1 for module in pair)]


def _fold(network: nn.Module, convolution: nn.Conv2d, norm: BatchNorm2d) -> None:
    if norm.running_mean is None or norm.running_var is None:
        return
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = torch.zeros_like(scale) if norm.bias is None else norm.bias
    bias = 0.0 if convolution.bias is None else convolution.bias
    shape = (-1, *[1] * (convolution.weight.ndim - 1))
    convolution.weight.copy_(convolution.weight * scale.view(shape))
    convolution.bias = nn.Parameter(shift + (bias - norm.running_mean) * scale, requires_grad=False)
    # timm's norms carry the activation that comes after them
    after = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    for parent in network.modules():
        for name, child in parent.named_children():
            if child is norm:
                setattr(parent, name, nn.Sequential(*after) if after else nn.Identity())
