"""Tensors that belong to one weight are compared before an address is taken.

The loops of `polyak.optim.loops` read and write where they are told to. What tells them is made
here: columns of tensors, checked to have one shape and one device, and one order in memory where
addresses are handed out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyak.optim.mismatch import Columns, agree, stretch
from polyak.optim.translate import DOUBLE, SINGLE

PRECISION: dict[torch.dtype, type[Any]] = {torch.float32: SINGLE, torch.float64: DOUBLE}

_shape, _dtype = attrgetter("shape"), attrgetter("dtype")
_CPU = {-1}


@dataclass
class Run:
    """What one pass of the loops takes: the addresses of some places, of one precision.

    Args:
        precision: np.float32 or np.float64.
        places: of the columns, one for each column of the table.
        table: uint64 (columns, places), addresses.
        sizes: int64 (places,), weights.
        total: their sum.
    """

    precision: type[Any]
    places: list[int]
    table: np.ndarray
    sizes: np.ndarray
    total: int = 0

    def __post_init__(self) -> None:
        self.total = int(self.sizes.sum())

    def part(self, places: set[int]) -> "Run":
        """Give the run of some of its places."""
        kept = [k for k, place in enumerate(self.places) if place in places]
        chosen = [self.places[k] for k in kept]
        table = np.ascontiguousarray(self.table[:, kept])  # as the loops are compiled for
        return Run(self.precision, chosen, table, self.sizes[kept])


@dataclass
class Lineup:
    """Columns that were compared: what the loops take, and the rest, which is stepped as tensors.

    >>> lineup = line_up([[torch.ones(2), torch.ones(2, dtype=torch.bfloat16)]] * 2)
    >>> [run.sizes.tolist() for run in lineup.runs], lineup.others
    ([[2]], [1])
    """

    columns: Columns
    runs: list[Run]
    others: list[int]
    copies: list[Tensor] = field(default_factory=list)  # alive as long as their addresses

    def part(self, places: Sequence[int]) -> "Lineup":
        """Give the lineup of some places; numbers of places stay what they are."""
        chosen = set(places)
        runs = [run.part(chosen) for run in self.runs]
        others = [place for place in self.others if place in chosen]
        return Lineup(self.columns, runs, others, self.copies)


@dataclass
class _Seen:
    """A lineup and what tells that its addresses still hold.

    Storages are held, so that no other tensor can get an address of theirs meanwhile: what lies at
    one of the addresses lies in the same memory.
    """

    run: Run
    # of the weights, then of state and averages
    addresses: list[int]
    shapes: list[torch.Size]
    strides: list[tuple[int, ...]]
    contiguous: bool
    storages: list
    # of the weights alone
    dtypes: list[torch.dtype]
    single: list[int]  # places of one weight: a negated view of a gradient may look in order


@torch.no_grad()
def line_up(columns: Columns, memo: dict[str, Any] | None = None, loops: bool = True) -> Lineup:
    """Compare the tensors of every place, and take the addresses of those that the loops can do.

    Args:
        columns: x, dx, each tensor of state, each average; lists of equal length.
        memo: a dictionary that is the caller's to keep, for `known`.
        loops: whether addresses are wanted; else all places are stepped as tensors.

    Raises:
        MismatchError: a tensor has another shape or device than its weights, or no memory of its
            own to be written to.

    >>> line_up([[torch.ones(5, 64)], [torch.ones(2, 64)]])
    Traceback (most recent call last):
    ...
    polyak.optim.mismatch.MismatchError: tensor 1 does not fit: place 0: shape (2, 64) beside \
(5, 64). Kept: all is as it was
    """
    if memo is not None:
        memo.clear()
    agree(columns)
    rows: dict[type, dict[int, tuple]] = {}
    others, copies = [], []
    for place, row in enumerate(zip(*columns, strict=True)):
        ordered = _in_order(row) if loops else None
        if ordered is None:
            others.append(place)
        else:
            rows.setdefault(PRECISION[row[0].dtype], {})[place] = ordered
            copies += [dx for dx in ordered[1:2] if dx is not row[1]]
    runs = []
    for precision, group in rows.items():
        run, shared = _addresses(precision, group)
        runs.append(run)
        others += shared
    if memo is not None and len(runs) == 1 and not others:
        memo["seen"] = _remember(columns, runs[0])
    return Lineup(columns, runs, sorted(others), copies)


def _in_order(row):
    """Check that all tensors of a place share one order in memory; copy a gradient into it."""
    x, dx, *others = row
    if x.dtype not in PRECISION or not stretch(x) or x.is_neg():
        return None
    strides = x.stride()
    if dx.dtype != x.dtype or dx.layout != torch.strided:
        return None
    if any(o.stride() != strides or o.dtype != x.dtype or not stretch(o) for o in others):
        return None
    if not _same_order(x, dx) or dx.is_neg() or not stretch(dx):
        dx = torch.empty_like(x).copy_(dx)
    return (x, dx, *others)


def _same_order(x, dx):
    # strides of dimensions of one weight mean nothing
    return x.stride() == dx.stride() or (x.is_contiguous() and dx.is_contiguous())


def _addresses(precision, group):
    """Make the run of some places, and name those that cannot be in it."""
    places, rows = list(group), list(group.values())
    table = np.array(
        [[t.data_ptr() for t in column] for column in zip(*rows, strict=True)], np.uint64
    )
    sizes = np.array([row[0].numel() for row in rows], np.int64)
    shared = _sharing(table, sizes, rows[0][0].element_size())
    run = Run(precision, places, table, sizes)
    if not shared:
        return run, []
    shared = {places[k] for k in shared}
    return run.part(set(places) - shared), sorted(shared)


def _sharing(table, sizes, width):
    """Name the places that write to each other's memory: threads would meet there."""
    rows = np.delete(table, 1, axis=0)[:, sizes > 0]
    owners = np.tile(np.flatnonzero(sizes > 0), len(rows))
    starts = rows.ravel()
    ends = (rows + (sizes[sizes > 0] * width).astype(np.uint64)).ravel()
    order = np.argsort(starts)
    reach = np.maximum.accumulate(ends[order])
    apart = np.concatenate([[True], starts[order][1:] >= reach[:-1]])[: len(order)]
    heap = np.cumsum(apart) - 1
    return set(owners[order][np.bincount(heap)[heap] > 1].tolist()) if len(order) else set()


def _remember(columns, run):
    x, _, *others = columns
    written = [*x, *chain.from_iterable(others)]
    return _Seen(
        run,
        addresses=[t.data_ptr() for t in written],
        shapes=[t.shape for t in written],
        strides=[t.stride() for t in written],
        contiguous=all(t.is_contiguous() for t in written),
        storages=[t.untyped_storage() for t in written],
        dtypes=[p.dtype for p in x],
        single=[place for place, p in enumerate(x) if p.numel() == 1],
    )


def known(columns: Columns, memo: dict[str, Any]) -> Lineup | None:
    """Give the lineup of before with new gradients, or None if anything else is not as it was.

    Only gradients are new at every step; looking at a tensor costs more than stepping a small one.

    >>> columns, memo = [[torch.ones(2)], [torch.ones(2)]], {}
    >>> known(columns, memo), line_up(columns, memo) == known(columns, memo)
    (None, True)
    """
    seen = memo.get("seen")
    if seen is None:
        return None
    x, dx, *others = columns
    run, shapes = seen.run, seen.shapes
    if (len(columns), len(x)) != run.table.shape:
        return None
    written = [*x, *chain.from_iterable(others)]
    try:
        if list(map(Tensor.data_ptr, written)) != seen.addresses:
            return None
        if list(map(_shape, written)) != shapes or list(map(_shape, dx)) != shapes[: len(x)]:
            return None
        if not _ordered_as_before(written, dx, seen) or list(map(_dtype, dx)) != seen.dtypes:
            return None
        addresses = list(map(Tensor.data_ptr, dx))
        if set(map(Tensor.get_device, dx)) != _CPU or any(dx[k].is_neg() for k in seen.single):
            return None
    except (RuntimeError, TypeError, AttributeError):  # sparse, or no tensor at all
        return None
    if 0 in addresses and any(size and not a for a, size in zip(addresses, run.sizes, strict=True)):
        return None  # a gradient whose memory was freed
    run.table[1] = addresses
    return Lineup(columns, [run], [])


def _ordered_as_before(written, dx, seen):
    if seen.contiguous:
        return all(map(Tensor.is_contiguous, written)) and all(map(Tensor.is_contiguous, dx))
    if list(map(Tensor.stride, written)) != seen.strides:
        return False
    strides = list(map(Tensor.stride, dx))
    return strides == seen.strides[: len(dx)] or all(map(_same_order, written, dx))
