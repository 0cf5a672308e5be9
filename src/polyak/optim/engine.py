"""Applies a rule to tensors: eagerly anywhere (the reference), in Numba loops on a CPU, compiled on
a GPU.

The engine knows how to go through tensors; the formulas are the rules'. Decay, clipping, the
gradient's scale and the averages are arguments of the pass. Results do not depend on the number of
threads: every weight is computed alone.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numba.core.errors import NumbaError
from torch import Tensor

from polyak.optim import loops, threads
from polyak.optim.rules import polyak
from polyak.optim.translate import DOUBLE, SINGLE, signature, translate

Columns = Sequence[Sequence[Tensor]]

PRECISION = {torch.float32: SINGLE, torch.float64: DOUBLE}


@dataclass
class Pass:
    """One group's step: what happens to every weight besides the rule.

    Args:
        rule: the rule, `x, *state = rule(x, dx, *state, **hyper)`.
        hyper: its hyperparameters, numbers by name.
        scale: what gradients are multiplied with (unscaling, clipping, the sign for maximising).
        l2: this share of the weights is added to the gradient.
        shrink: what weights are multiplied with before the step (decoupled decay).
        decays: one for each average that rides along.
    """

    rule: Callable
    hyper: dict[str, float]
    scale: float = 1.0
    l2: float = 0.0
    shrink: float = 1.0
    decays: Sequence[float] = field(default_factory=tuple)


def apply(
    work: Pass, columns: Columns, memo: dict | None = None, engine: str | None = None
) -> None:
    """Take one step in place.

    Args:
        work: what to do.
        columns: x, dx, each tensor of state, each average; lists of equal length, a parameter a
            place, all tensors of a place of one shape; state and averages of a bfloat16 or float16
            parameter are float32.
        memo: a dictionary that is the caller's to keep, for the same columns of the next step.
        engine: "eager", "numba" or "compiled"; None chooses by device.

    >>> from polyak.optim.rules import sgd
    >>> x = torch.ones(2)
    >>> apply(Pass(sgd, {"learning_rate": 0.5}), [[x], [torch.ones(2)]])
    >>> x
    tensor([0.5000, 0.5000])
    """
    table = _known(columns, memo) if memo else None
    if memo and table is not None:
        _run(work, table, memo["sizes"], memo["precision"])
        return
    devices = {x.device for x in columns[0]}
    if len(devices) > 1:
        for device in devices:
            places = [k for k, x in enumerate(columns[0]) if x.device == device]
            apply(work, [[column[k] for k in places] for column in columns], None, engine)
    elif devices:
        engine = engine or choose(columns[0][0].device.type)
        {"numba": _numba, "compiled": _compiled}.get(engine, _eager)(work, columns, memo)


def choose(device: str) -> str:
    """Choose the engine of a kind of device.

    >>> choose("cpu"), choose("mps")
    ('numba', 'eager')
    """
    return {"cpu": "numba", "cuda": "compiled"}.get(device, "eager")


def _eager(work, columns, memo=None):
    eager(work, columns, len(signature(work.rule).state))


def eager(work: Pass, columns: Columns, states: int) -> None:
    """Take the step with tensor arithmetic: the reference for the other engines.

    >>> from polyak.optim.rules import sgd
    >>> x = torch.ones(2)
    >>> eager(Pass(sgd, {"learning_rate": 0.5}), [[x], [torch.ones(2)]], states=0); x
    tensor([0.5000, 0.5000])
    """
    for x, dx, *others in zip(*columns, strict=True):
        state, averages = others[:states], others[states:]
        wide = wide_dtype(x.dtype)
        x_wide, dx_wide = x.to(wide), dx.to(wide)
        new, *new_state = work.rule(
            work.shrink * x_wide, work.scale * dx_wide + work.l2 * x_wide, *state, **work.hyper
        )
        x.copy_(new)
        for old, value in zip(state, new_state, strict=True):
            old.copy_(value)
        for x_test, decay in zip(averages, work.decays, strict=True):
            x_test.copy_(polyak(x_test, x.to(x_test.dtype), decay)[0])


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Name the type of a parameter's state: its own, but float32 for the half precisions.

    >>> wide_dtype(torch.bfloat16), wide_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def _numba(work, columns, memo=None):
    """Do the places that lie in memory as the loops want them compiled, the others eagerly."""
    rows, rest = {}, []
    for row in zip(*columns, strict=True):
        lined_up = _line_up(row)
        if lined_up and _sweep_or_none(work.rule, PRECISION[row[0].dtype]):
            rows.setdefault(PRECISION[row[0].dtype], []).append(lined_up)
        else:
            rest.append(row)
    for precision, group in rows.items():
        table = np.array(
            [[t.data_ptr() for t in column] for column in zip(*group, strict=True)], np.uint64
        )
        sizes = np.array([row[0].numel() for row in group], np.int64)
        _run(work, table, sizes, precision)
        if memo is not None and len(group) == len(columns[0]):
            strides = [row[0].stride() for row in group]
            memo |= {"table": table, "sizes": sizes, "precision": precision, "strides": strides}
            memo["dtype"] = group[0][0].dtype
    if rest:
        _eager(work, list(zip(*rest, strict=True)))


def _known(columns, memo):
    """Give the addresses of columns that were checked before, or None if anything may have moved.

    Only gradients are new at every step; looking at a tensor costs more than stepping a small one.
    """
    x, dx = columns[0], columns[1]
    if len(x) != len(memo["strides"]) or {g.dtype for g in dx} != {memo["dtype"]}:
        return None
    table = np.array([list(map(Tensor.data_ptr, column)) for column in columns], np.uint64)
    old = memo["table"]
    if table.shape != old.shape:
        return None
    old[1] = table[1]  # gradients may lie anywhere
    if not np.array_equal(table, old):
        return None
    try:
        in_order = list(map(Tensor.stride, x)) == memo["strides"] == list(map(Tensor.stride, dx))
    except RuntimeError:  # a sparse gradient has no strides
        return None
    return table if in_order else None


def _line_up(row):
    """Check that all tensors of a place share one order in memory; copy a gradient into it."""
    x, dx, *others = row
    if x.dtype not in PRECISION or not dense(x):
        return None
    strides = x.stride()
    if dx.dtype != x.dtype or dx.layout != torch.strided or dx.device.type != "cpu":
        return None
    if dx.stride() != strides:
        dx = torch.empty_like(x).copy_(dx)
    if any(o.stride() != strides or o.dtype != x.dtype or o.device.type != "cpu" for o in others):
        return None
    return (x, dx, *others)


def dense(tensor: Tensor) -> bool:
    """Tell whether a tensor fills a stretch of memory without gaps or overlaps, in any order of its
    dimensions.

    >>> dense(torch.ones(2, 3).t()), dense(torch.ones(4, 4)[:, :2])
    (True, False)
    """
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


@cache
def _sweep_or_none(rule, precision):
    states = len(signature(rule).state)
    try:
        if states > loops.MOST_STATES:
            raise ValueError(
                f"{rule.__name__} has {states} tensors of state, the loops take {loops.MOST_STATES}"
            )
        go = loops.sweep(rule, states, precision)
        element = translate(rule, precision)
        names = signature(rule).hyper
        constants = element.constants(dict.fromkeys(names, 0.5))
        loops.warm(go, states, precision, len(constants))
    except (ValueError, NumbaError) as error:
        why = str(error).strip().splitlines()[0]
        warnings.warn(
            f"{rule.__name__} runs uncompiled, some ten times slower: {why}", stacklevel=2
        )
        return None
    return go


def _run(work, table, sizes, precision):
    """Run the compiled pass, a stretch of weights to each of torch's threads."""
    go: Any = _sweep_or_none(work.rule, precision)
    constants = loops.literals(precision, *translate(work.rule, precision).constants(work.hyper))
    terms = loops.literals(precision, work.scale, work.l2, work.shrink)
    average = translate(polyak, precision)
    decays = np.array([average.constants({"decay": d}) for d in work.decays], precision)
    decays = decays.reshape(-1, 2)

    def stretch(begin, end):
        go(table, sizes, begin, end, constants, *terms, decays)

    threads.spread(stretch, int(sizes.sum()))


def count(steps: Sequence[Tensor]) -> list[float]:
    """Add one to every count, in place, and read them; float32, 0-d, on the CPU.

    >>> count([torch.tensor(0.0), torch.tensor(4.0)])
    [1.0, 5.0]
    """
    return loops.count(np.array([step.data_ptr() for step in steps], np.uint64)).tolist()


def _compiled(work, columns, memo=None):
    compiled(work, columns, kernel(work.rule))


def compiled(work: Pass, columns: Columns, step: Callable) -> None:
    """Run a kernel; numbers travel as 0-d tensors, so that a new rate is no new compilation.

    >>> from polyak.optim.rules import sgd
    >>> x = torch.ones(2)
    >>> step = kernel(sgd, backend="eager")
    >>> compiled(Pass(sgd, {"learning_rate": 0.5}), [[x], [torch.ones(2)]], step); x
    tensor([0.5000, 0.5000])
    """
    lifted = translate(work.rule, None).constants(work.hyper)
    double = partial(torch.as_tensor, dtype=torch.float64)
    terms = [double(value) for value in (work.scale, work.l2, work.shrink)]
    decays = [double(decay) for decay in work.decays]
    step([list(column) for column in columns], [double(c) for c in lifted], *terms, decays)


@cache
def kernel(rule: Callable, backend: str = "inductor") -> Callable:
    """Let Inductor write the fused kernel of a rule, from the very code of the eager engine."""
    element, states = translate(rule, None).element, len(signature(rule).state)

    def step(columns, constants, scale, l2, shrink, decays):
        def lifted(x, dx, *state):
            return element(x, dx, *state, constants)

        eager(Pass(lifted, {}, scale, l2, shrink, decays), columns, states)

    return torch.compile(step, dynamic=False, backend=backend)
