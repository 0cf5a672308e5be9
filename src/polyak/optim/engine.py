"""Applies a rule to tensors: one by one anywhere (the reference), in Numba loops on a CPU, many
together on a GPU.

The engine knows how to go through tensors; the formulas are the rules'. Decay, clipping, the
gradient's scale and the averages are arguments of the pass. Results do not depend on the number of
threads: every weight is computed alone.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from numba.core.errors import NumbaError
from torch import Tensor

from polyak.optim import loops, threads
from polyak.optim.lineup import PRECISION, Lineup, known, line_up
from polyak.optim.mismatch import Columns
from polyak.optim.rules import polyak
from polyak.optim.together import Together, wide_dtype
from polyak.optim.translate import signature, translate

NO_AVERAGE: dict[type[Any], np.ndarray] = {
    precision: np.zeros((0, 2), precision) for precision in PRECISION.values()
}
AT_ONCE = 1 << 26  # weights that go through a rule together


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

    rule: Callable[..., Any]
    hyper: dict[str, float]
    scale: float = 1.0
    l2: float = 0.0
    shrink: float = 1.0
    decays: Sequence[float] = field(default_factory=tuple)


def apply(
    work: Pass, columns: Columns, memo: dict[str, Any] | None = None, engine: str | None = None
) -> None:
    """Take one step in place.

    Args:
        work: what to do.
        columns: x, dx, each tensor of state, each average; lists of equal length, a parameter a
            place, all tensors of a place of one shape; state and averages of a bfloat16 or float16
            parameter are float32.
        memo: a dictionary that is the caller's to keep, for the same columns of the next step.
        engine: "eager", "numba" or "together"; None chooses by device.

    Raises:
        MismatchError: tensors of one place do not fit each other; nothing was changed.

    >>> from polyak.optim.rules import sgd
    >>> x = torch.ones(2)
    >>> apply(Pass(sgd, {"learning_rate": 0.5}), [[x], [torch.ones(2)]])
    >>> x
    tensor([0.5000, 0.5000])
    """
    lineup = known(columns, memo) if memo and engine is None else None
    run(work, lineup or line_up(columns, memo, engine in (None, "numba")), engine)


def run(work: Pass, lineup: Lineup, engine: str | None = None) -> None:
    """Take one step in place, with columns that were lined up.

    Raises:
        ValueError: the rule has another number of tensors of state, or there are other averages.
    """
    columns = lineup.columns
    if len(columns) != 2 + len(signature(work.rule).state) + len(work.decays):
        raise ValueError(f"{work.rule.__name__} does not go through {len(columns)} columns")
    others = list(lineup.others)
    for part in lineup.runs:
        jitted = _sweep_or_none(work.rule, part.precision)
        if jitted is None:
            others += part.places
        else:
            _run(jitted, work, part)
    if others:
        _run_as_tensors(work, columns, others, engine)


def choose(device: str) -> str:
    """Choose the engine of a kind of device.

    >>> choose("cpu"), choose("mps")
    ('numba', 'eager')
    """
    return {"cpu": "numba", "cuda": "together"}.get(device, "eager")


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
        new, *new_state = _stepped(work, x.to(wide), dx.to(wide), state)
        x.copy_(new)
        for old, value in zip(state, new_state, strict=True):
            old.copy_(value)
        for x_test, decay in zip(averages, work.decays, strict=True):
            x_test.copy_(polyak(x_test, x.to(x_test.dtype), decay)[0])


def _stepped(work, x, dx, state):
    """Compute a rule's results, of one tensor or of many; what changes nothing is left out."""
    if work.scale != 1:
        dx = work.scale * dx
    if work.l2:
        dx = dx + work.l2 * x
    if work.shrink != 1:
        x = work.shrink * x
    return work.rule(x, dx, *state, **work.hyper)


def together(work: Pass, columns: Columns, states: int) -> None:
    """Take the step with many tensors at once, or one by one where the rule does more than
    arithmetic.

    >>> from polyak.optim.rules import sgd
    >>> x = torch.ones(2)
    >>> together(Pass(sgd, {"learning_rate": 0.5}), [[x], [torch.ones(2)]], states=0); x
    tensor([0.5000, 0.5000])
    """
    for part in _portions(columns):
        try:
            x, dx, *others = (Together(column) for column in part)
            state, averages = others[:states], others[states:]
            new = _stepped(work, x.wide(), dx.wide(), state)
            if not all(isinstance(value, Together) for value in new):
                raise TypeError("the rule gives something else than it took")
            for old, value in zip((x, *state), new, strict=True):
                old.copy_(value)
            for x_test, decay in zip(averages, work.decays, strict=True):
                x_test.copy_(polyak(x_test, x.wide(), decay)[0])
        except (TypeError, AttributeError):
            eager(work, part, states)


def _portions(columns):
    """Part the places so that what is computed in between stays small beside the weights."""
    sizes = np.cumsum([x.numel() for x in columns[0]])
    numbers = sizes // AT_ONCE
    for number in np.unique(numbers):
        first, last = np.searchsorted(numbers, [number, number + 1])
        yield [column[first:last] for column in columns]


@cache
def _sweep_or_none(rule, precision):
    states = len(signature(rule).state)
    try:
        if states > loops.MOST_STATES:
            raise ValueError(
                f"{rule.__name__} has {states} tensors of state, the loops take {loops.MOST_STATES}"
            )
        jitted = loops.sweep(rule, states, precision)
        element = translate(rule, precision)
        names = signature(rule).hyper
        constants = element.constants(dict.fromkeys(names, 0.5))
        loops.warm(jitted, states, precision, len(constants))
    except (ValueError, NumbaError) as error:
        why = str(error).strip().splitlines()[0]
        warnings.warn(
            f"{rule.__name__} runs uncompiled, some ten times slower: {why}", stacklevel=2
        )
        return None
    return jitted


def _run(jitted: Any, work, part):
    """Run the compiled pass, a stretch of weights to each of torch's threads."""
    constants = translate(work.rule, part.precision).constants(work.hyper)
    constants = loops.literals(part.precision, *constants)
    terms = loops.literals(part.precision, work.scale, work.l2, work.shrink)
    decays = NO_AVERAGE[part.precision]
    if work.decays:
        average = translate(polyak, part.precision)
        decays = np.array([average.constants({"decay": d}) for d in work.decays], part.precision)

    def stretch(begin, end):
        jitted(part.table, part.sizes, begin, end, constants, *terms, decays)

    threads.spread(stretch, part.total)


def count(steps: Sequence[Tensor], memo: dict[str, Any] | None = None) -> list[float]:
    """Add one to every count, in place, and read them; float32, one number each, on the CPU.

    Args:
        steps: the counts.
        memo: a dictionary that is the caller's to keep, for the same counts of the next step.

    Raises:
        ValueError: one of them is of another kind; none was changed.

    >>> count([torch.tensor(0.0), torch.tensor(4.0)])
    [1.0, 5.0]
    """
    memo = {} if memo is None else memo
    try:
        addresses = list(map(Tensor.data_ptr, steps))
    except (TypeError, RuntimeError) as error:
        raise ValueError("a count is no tensor in memory") from error
    if memo.get("addresses") != addresses:
        if not all(map(_is_count, steps)):
            raise ValueError("a count is not one float32 number on the CPU")
        # held, so that no other tensor can get one of the addresses meanwhile
        memo |= {"addresses": addresses, "storages": [step.untyped_storage() for step in steps]}
        memo["table"] = np.array(addresses, np.uint64)
    return loops.count(memo["table"]).tolist()


def _is_count(step):
    one = step.dtype == torch.float32 and step.numel() == 1 and step.is_cpu
    return one and bool(step.data_ptr()) and not step.is_neg()


@torch.no_grad()
def _run_as_tensors(work, columns, places, engine):
    """Step some places with tensor arithmetic, those of a device together."""
    for device in dict.fromkeys(columns[0][place].device for place in places):
        there = [place for place in places if columns[0][place].device == device]
        chosen = [[column[place] for place in there] for column in columns]
        kind, states = engine or choose(device.type), len(signature(work.rule).state)
        if kind == "together":
            together(work, chosen, states)
        else:
            eager(work, chosen, states)
