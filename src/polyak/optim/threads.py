"""The threads that the loops run on: torch's own, as many as torch has.

Between two of torch's operators its OpenMP threads spin on their cores, waiting for the next. A
second pool would have to share the cores with them, so the stretches are handed to the very team
that is waiting (what that gains: docs/decisions/0008). Where torch's OpenMP cannot be called, a
pool of Python's does it.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
STRETCH = 1 << 16  # weights a thread takes at least; below, waking it costs more than it saves
PARTS = 4  # a thread; one whose core is taken away for a moment leaves some to the others


def spread(stretch: Callable[[int, int], T], total: int) -> list[T]:
    """Call `stretch(begin, end)` for equal parts of range(total) on torch's threads; results in
    order.

    >>> spread(lambda begin, end: (begin, end), 10)
    [(0, 10)]
    """
    threads = max(1, min(torch.get_num_threads(), total // STRETCH))
    if threads == 1:
        return [stretch(0, total)]
    count = max(threads, min(threads * PARTS, total // STRETCH))
    edges = [total * k // count for k in range(count + 1)]
    left = enumerate(pairwise(edges))  # all threads draw from it
    results: list = [None] * count
    errors = []

    def work(_=None):
        try:
            for k, ends in left:
                results[k] = stretch(*ends)
        except BaseException as error:  # C would print it and go on
            errors.append(error)

    _run(work, threads)
    if not errors:
        work()  # what a team that stopped early would have left: nothing
    if errors:
        raise errors[0]
    return results


def obstacle() -> str:
    """Say why torch's own threads are not used, "" where they are.

    >>> (obstacle() == "") == (_team() is not None)
    True
    """
    return _found()[1]


def _run(work, threads):
    team = None if _forked else _team()
    (team or _pooled)(work, threads)


def _team():
    return _found()[0]


@cache
def _found():
    """Give a function that calls another on every thread of torch's OpenMP team, or None and why.

    It is tried here once: a team that does not work would be weights that do not move.
    """
    try:
        # a symbol is looked for in the library and in those it was linked with: torch's own OpenMP
        [library] = (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")
        parallel = ctypes.CDLL(str(library)).GOMP_parallel  # GCC's interface, LLVM's has it too
    except (OSError, ValueError, AttributeError) as error:
        return None, f"no GOMP_parallel in torch's libraries ({type(error).__name__})"
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    parallel.restype = None
    parallel.argtypes = [kind, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    called = []
    parallel(kind(lambda _: called.append(1)), None, 2, 0)
    if not 1 <= len(called) <= 2:
        return None, f"GOMP_parallel called {len(called)} times where 2 threads were wanted"
    return lambda work, threads: parallel(kind(work), None, threads, 0), ""


def _pooled(work, threads):
    others = [_pool(threads).submit(work) for _ in range(threads - 1)]
    work()
    wait(others)


@cache
def _pool(threads):
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="polyak-optim")


_forked = False


def _after_fork():
    """A forked child has its parent's threads no more; OpenMP would wait for them for ever."""
    global _forked
    _forked = True
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_after_fork)
