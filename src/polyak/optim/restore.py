"""Values that come back exactly, whatever happened to their tensor meanwhile."""

import torch
from torch import Tensor


@torch.no_grad()
def put_back(tensor: Tensor, value: Tensor) -> None:
    """Give a tensor a value that it had before, and its shape and type of then if it lost them.

    >>> weight = torch.nn.Parameter(torch.ones(2, 3))
    >>> kept = weight.detach().clone()
    >>> weight.data = torch.zeros(5, 3)  # a layer that grew
    >>> put_back(weight, kept); weight.shape, weight.sum().item()
    (torch.Size([2, 3]), 6.0)
    """
    if tensor.shape == value.shape and tensor.dtype == value.dtype:
        try:
            tensor.copy_(value)
            return
        except RuntimeError:  # expanded meanwhile: several weights in one place of memory
            pass
    tensor.data = value.to(tensor.device)
