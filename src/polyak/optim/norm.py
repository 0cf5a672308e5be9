"""The length of all gradients together, which clipping needs before the pass can begin."""

from collections.abc import Sequence
from itertools import chain, compress
from operator import not_

import numpy as np
import torch
from torch import Tensor

from polyak.optim import loops, threads
from polyak.optim.lineup import PRECISION, Lineup
from polyak.optim.mismatch import stretch


@torch.no_grad()
def norm(gradients: Sequence[Tensor]) -> float | Tensor:
    """Measure the Euclidean length of all gradients together, in double precision on the CPU.

    The order of the sum is fixed, whatever the number of threads.

    >>> norm([torch.tensor([3.0]), torch.tensor([4.0])])
    5.0
    """
    if not gradients:
        return 0.0
    devices = {dx.device for dx in gradients}
    if len(devices) > 1:
        parts = ([dx for dx in gradients if dx.device == device] for device in devices)
        return sum(float(norm(part)) ** 2 for part in parts) ** 0.5
    if gradients[0].device.type != "cpu":
        return torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(dx) for dx in gradients])
        )
    squares = 0.0
    for dtype in dict.fromkeys(g.dtype for g in gradients):
        chosen = [g for g in gradients if g.dtype == dtype]
        fast = [dtype in PRECISION and stretch(g) for g in chosen]
        squares += sum(float(g.double().square().sum()) for g in compress(chosen, map(not_, fast)))
        tensors = list(compress(chosen, fast))
        if tensors:
            addresses = [g.data_ptr() for g in tensors]
            squares += _squares(addresses, [g.numel() for g in tensors], PRECISION[dtype])
    return squares**0.5


def norm_of(lineups: Sequence[Lineup]) -> float | Tensor:
    """Measure the Euclidean length of all gradients of an optimizer, whose addresses are known.

    >>> from polyak.optim.lineup import line_up
    >>> norm_of([line_up([[torch.ones(1)], [torch.tensor([3.0])]])])
    3.0
    """
    squares = 0.0
    for precision in PRECISION.values():
        runs = [run for lineup in lineups for run in lineup.runs if run.precision is precision]
        if runs:
            addresses = chain.from_iterable(run.table[1].tolist() for run in runs)
            sizes = chain.from_iterable(run.sizes.tolist() for run in runs)
            squares += _squares(addresses, sizes, precision)
    others = [lineup.columns[1][place] for lineup in lineups for place in lineup.others]
    if not others:
        return squares**0.5
    return (squares + float(norm(others)) ** 2) ** 0.5 if squares else norm(others)


def _squares(tensors, sizes, precision):
    addresses, counts = [], []
    width = np.dtype(precision).itemsize
    for address, size in zip(tensors, sizes, strict=True):
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
