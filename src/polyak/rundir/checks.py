"""Checks of nested values that come out of a file: the first that fails says where and why."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from polyak.tensor_file import finite

Check = Callable[[Any, str], None]  # of a value, and the place that it stands at


def whole(lowest: int = 0, highest: int = 2**62) -> Check:
    """Ask for an integer.

    >>> whole(0, 9)(12, "step")
    Traceback (most recent call last):
    ...
    ValueError: step is 12, not a whole number from 0 to 9
    """
    inside = lambda v: type(v) is int and lowest <= v <= highest  # noqa: E731
    return _when(inside, f"a whole number from {lowest} to {highest}")


def real(lowest: float = -math.inf, highest: float = math.inf) -> Check:
    """Ask for a finite number."""
    inside = lambda v: type(v) in (int, float) and abs(v) < math.inf and lowest <= v <= highest  # noqa: E731
    bounds = (
        "" if math.isinf(highest) and math.isinf(lowest) else f" from {lowest:g} to {highest:g}"
    )
    return _when(inside, f"a finite number{bounds}")


def equal(to: Any) -> Check:
    """Ask for one value alone; tuples come back from a file as lists."""
    to = list(to) if isinstance(to, tuple) else to
    return _when(lambda v: type(v) is type(to) and v == to, repr(to))


def text(pattern: str) -> Check:
    """Ask for a text that a regular expression matches whole."""
    found = re.compile(pattern)
    return _when(lambda v: isinstance(v, str) and found.fullmatch(v), f"a text like {pattern}")


def maybe(check: Check) -> Check:
    """Ask for nothing, or what a check asks for."""
    return lambda value, place: None if value is None else check(value, place)


def fields(checks: Mapping[Any, Check], more: Mapping[Any, Check] | None = None) -> Check:
    """Ask for a dict of exactly these keys, and perhaps some more.

    >>> fields({"a": whole()})({"a": 1, "b": 2}, "state")
    Traceback (most recent call last):
    ...
    ValueError: state has a field 'b' that does not belong there
    """
    known = {**(more or {}), **checks}

    def check(value: Any, place: str) -> None:
        mapping(value, place)
        for odd in [key for key in value if key not in known]:
            raise ValueError(f"{place} has a field {_short(odd)} that does not belong there")
        for missing in [key for key in checks if key not in value]:
            raise ValueError(f"{place} has no field {_short(missing)}")
        for key, inner in value.items():
            known[key](inner, f"{place}.{key}")

    return check


def mapping(value: Any, place: str) -> None:
    """Ask for a dict, whatever it holds."""
    if not isinstance(value, dict):
        raise ValueError(f"{place} is {_short(value)}, not a mapping of names and values")


def items(*checks: Check) -> Check:
    """Ask for a list of exactly these items."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or len(value) != len(checks):
            raise ValueError(f"{place} is {_short(value)}, not a list of {len(checks)}")
        for number, (inner, one) in enumerate(zip(value, checks, strict=True)):
            one(inner, f"{place}[{number}]")

    return check


def many(one: Check, highest: int) -> Check:
    """Ask for a list of alike items, at most so many."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or len(value) > highest:
            raise ValueError(f"{place} is {_short(value)}, not a list of at most {highest}")
        for number, inner in enumerate(value):
            one(inner, f"{place}[{number}]")

    return check


def tensor(like: Tensor) -> Check:
    """Ask for a finite tensor of the same shape and type; integers that do not count stay the same.

    >>> tensor(torch.ones(2))(torch.ones(3), "bias")
    Traceback (most recent call last):
    ...
    ValueError: bias is float32 (3,), not float32 (2,)
    """

    def check(value: Any, place: str) -> None:
        if not isinstance(value, Tensor):
            raise ValueError(f"{place} is {_short(value)}, not a tensor")
        if (value.shape, value.dtype) != (like.shape, like.dtype):
            raise ValueError(f"{place} is {_kind(value)}, not {_kind(like)}")
        if not finite(value):
            raise ValueError(f"{place} holds a number that is not finite")
        if value.ndim == 0 and not value.is_floating_point() and bool(value < 0):
            raise ValueError(f"{place} counts {value.item()}")
        # tables of positions, say: an index out of range would be met in the middle of a step
        if value.ndim and not value.is_floating_point() and not torch.equal(value, like.cpu()):
            raise ValueError(f"{place} is not the network's own")

    return check


def table(like: Mapping[str, Tensor]) -> Check:
    """Ask for tensors of exactly these names, shapes and types."""
    return fields({name: tensor(value) for name, value in like.items()})


def _when(condition: Callable[[Any], Any], what: str) -> Check:
    def check(value: Any, place: str) -> None:
        if not condition(value):
            raise ValueError(f"{place} is {_short(value)}, not {what}")

    return check


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return _kind(value)
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to print the longest
        return f"an integer of {value.bit_length()} bits"
    return repr(value)[:60]


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
