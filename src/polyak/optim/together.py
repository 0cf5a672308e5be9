"""Many tensors that take part in arithmetic as one value: one kernel an operation on a GPU, not one
a tensor, so that a rule's own text runs there without being compiled.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def _each(name: str) -> Callable[..., Any]:
    return getattr(torch, f"_foreach_{name}")


_NAMES = {
    operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.truediv: "div",
    operator.pow: "pow",
}  # fmt: skip
_AT_ONCE: dict[Callable, Callable] = {operation: _each(name) for operation, name in _NAMES.items()}
_SQRT, _COPY = _each("sqrt"), _each("copy_")


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Name the type of a parameter's state: its own, but float32 for the half precisions.

    >>> wide_dtype(torch.bfloat16), wide_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def _method(operation: Callable, turned: bool = False) -> Any:
    return lambda self, other: self._with(operation, other, turned)


class Together:
    """Tensors of any shapes on one device; arithmetic goes through all, place by place.

    Args:
        tensors: the tensors.

    Raises:
        TypeError: from an operation beside `+ - * / **`, comparisons and the unary minus.

    >>> two = Together([torch.ones(2), torch.ones(1)])
    >>> (two * 0.5 + two).tensors
    [tensor([1.5000, 1.5000]), tensor([1.5000])]
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self.tensors = list(tensors)

    def wide(self) -> "Together":
        """Give the tensors in the type of their state: half precisions as float32."""
        halves = any(t.dtype in (torch.bfloat16, torch.float16) for t in self.tensors)
        return Together([t.to(wide_dtype(t.dtype)) for t in self.tensors]) if halves else self

    def copy_(self, new: "Together") -> None:
        """Take the values of as many others, in place."""
        _COPY(self.tensors, new.tensors)

    def _with(self, operation: Callable, other: Any, turned: bool = False) -> "Together":
        here = self.tensors
        if isinstance(other, Together):
            there = other.tensors
        elif isinstance(other, int | float):
            there = other
        else:
            return NotImplemented
        floats = here[0].is_floating_point() and not isinstance(other, bool)
        if floats and operation is operator.pow and other == 0.5 and not turned:
            return Together(_SQRT(here))
        if floats and operation in _AT_ONCE and not turned and _floating(there):
            return Together(_AT_ONCE[operation](here, there))
        others = there if isinstance(there, list) else [there] * len(here)
        if turned:
            here, others = others, here
        return Together([operation(a, b) for a, b in zip(here, others, strict=True)])

    __add__ = __radd__ = _method(operator.add)  # a sum is the same from both sides
    __mul__ = __rmul__ = _method(operator.mul)
    __sub__, __rsub__ = _method(operator.sub), _method(operator.sub, turned=True)
    __truediv__, __rtruediv__ = _method(operator.truediv), _method(operator.truediv, turned=True)
    __pow__ = _method(operator.pow)
    __gt__, __lt__ = _method(operator.gt), _method(operator.lt)
    __ge__, __le__ = _method(operator.ge), _method(operator.le)

    def __neg__(self) -> "Together":
        return self * -1.0


def _floating(other: Any) -> bool:
    return not isinstance(other, list) or other[0].is_floating_point()
