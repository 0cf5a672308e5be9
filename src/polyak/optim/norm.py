"""The length of all gradients together, which clipping needs before the pass can begin."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from polyak.optim import loops, threads
from polyak.optim.engine import PRECISION, dense


def norm(gradients: Sequence[Tensor]) -> float | Tensor:
    """Measure the Euclidean length of all gradients together, in double precision on the CPU.

    The order of the sum is fixed, whatever the number of threads.

    >>> norm([torch.tensor([3.0]), torch.tensor([4.0])])
    5.0
    """
    if not gradients:
        return 0.0
    if gradients[0].device.type != "cpu":
        return torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(dx) for dx in gradients])
        )
    squares = 0.0
    for dtype in dict.fromkeys(g.dtype for g in gradients):
        chosen = [g for g in gradients if g.dtype == dtype]
        fast = [g for g in chosen if dtype in PRECISION and dense(g)]
        squares += sum(
            float(g.double().square().sum())
            for g in chosen
            if not (dtype in PRECISION and dense(g))
        )
        squares += _sum_of_squares(fast, PRECISION[dtype]) if fast else 0.0
    return squares**0.5


def _sum_of_squares(tensors, precision):
    addresses, counts = [], []
    for tensor in tensors:
        address, size, width = tensor.data_ptr(), tensor.numel(), tensor.element_size()
        for first in range(0, size, threads.STRETCH):
            addresses.append(address + first * width)
            counts.append(min(threads.STRETCH, size - first))
    addresses, counts = np.array(addresses, np.uint64), np.array(counts, np.int64)
    sums = np.zeros(len(counts))
    like = precision(0)

    def some(begin, end):
        # stretches, not weights, are dealt out: each is summed whole, so no thread count
        # changes a bit
        loops.sums_of_squares(
            addresses, counts, -(-begin // threads.STRETCH), -(-end // threads.STRETCH), sums, like
        )

    threads.spread(some, len(counts) * threads.STRETCH)
    return float(sums.sum())
