"""One pool of threads for the loops, as many as torch has."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch

STRETCH = 1 << 16  # weights a thread takes at least; below, waking it costs more than it saves


def spread(stretch: Callable[[int, int], object], total: int) -> list:
    """Call `stretch(begin, end)` for equal parts of range(total), one for each of torch's threads.

    >>> spread(lambda begin, end: (begin, end), 10)
    [(0, 10)]
    """
    threads = max(1, min(torch.get_num_threads(), total // STRETCH))
    edges = [total * k // threads for k in range(threads + 1)]
    if threads == 1:
        return [stretch(0, total)]
    parts = [_pool(threads).submit(stretch, *ends) for ends in pairwise(edges[1:])]
    return [stretch(*edges[:2]), *(part.result() for part in parts)]


@cache
def _pool(threads):
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="polyak-optim")


# a forked child has the parent's pool without its threads
os.register_at_fork(after_in_child=_pool.cache_clear)
