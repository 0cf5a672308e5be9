"""Whether tensors that belong to one parameter fit each other, and how one lies in memory."""

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor

from polyak.errors import UsageError

Columns = Sequence[Sequence[Tensor]]

_PLAIN = (Tensor, torch.nn.Parameter)  # whose memory is their own; other classes may be wrappers


class MismatchError(UsageError, RuntimeError):
    """A tensor does not fit the weights that it belongs to; nothing was changed.

    Args:
        why: what is wrong with it.
        place: of the weights in their column.
        column: of the tensor: 0 the weights themselves, 1 gradients, then state, then averages.
        what: the same with a name.
        where: the parameter's name.
        then: what to do next.

    >>> error = MismatchError("shape (2,) beside (5,)", place=3, column=1)
    >>> print(error.named("the gradient does not fit", "head.weight", then="zero_grad()"))
    the gradient does not fit: head.weight: shape (2,) beside (5,). Kept: all is as it was. \
Next: zero_grad()
    >>> isinstance(error, RuntimeError)
    True
    """

    def __init__(
        self,
        why: str,
        *,
        place: int,
        column: int,
        what: str = "",
        where: str = "",
        then: str = "",
    ) -> None:
        what = what or f"tensor {column} does not fit"
        kept = "all is as it was"
        super().__init__(what, where=where or f"place {place}", why=why, kept=kept, then=then)
        self.place: int = place
        self.column: int = column

    def named(self, what: str, where: str, then: str) -> "MismatchError":
        """Say the same with names."""
        at = {"place": self.place, "column": self.column}
        return MismatchError(self.why, **at, what=what, where=where, then=then)


def agree(columns: Columns) -> None:
    """Raise a MismatchError for the first tensor that does not fit the weights of its place.

    Args:
        columns: x, dx, each tensor of state, each average; lists of equal length.

    Raises:
        MismatchError: another shape or device than the weights', or memory that cannot be used.
        ValueError: the lists have different lengths.

    >>> agree([[torch.ones(2)], [torch.ones(2)]])
    """
    x = columns[0]
    for number, column in enumerate(columns):
        if len(column) != len(x):
            raise ValueError(f"column {number} has {len(column)} tensors beside {len(x)}")
        for place, tensor in enumerate(column):
            if not isinstance(tensor, Tensor):
                raise MismatchError(f"{tensor!r:.40} is no tensor", place=place, column=number)
    for what in ("shape", "device"):
        of = attrgetter(what)
        expected = list(map(of, x))
        for number, column in enumerate(columns):
            found = list(map(of, column))
            if found != expected:
                place = next(k for k, value in enumerate(found) if value != expected[k])
                one, other = _words(found[place]), _words(expected[place])
                raise MismatchError(f"{what} {one} beside {other}", place=place, column=number)
    for number, column in enumerate(columns):
        for place, tensor in enumerate(column):
            why = unusable(tensor, written=number != 1)
            if why:
                raise MismatchError(why, place=place, column=number)


def _words(value):
    return tuple(value) if isinstance(value, torch.Size) else value


def unusable(tensor: Tensor, written: bool = True) -> str:
    """Say why nothing can be read from a tensor, or written to it; or nothing.

    >>> unusable(torch.ones(1).expand(3)), unusable(torch.ones(3))
    ('expanded: several weights in one place of memory', '')
    """
    if tensor.layout != torch.strided:
        return ""
    if tensor.is_cpu and type(tensor) in _PLAIN and tensor.numel():
        last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        needed = (tensor.storage_offset() + last + 1) * tensor.element_size()
        if tensor.untyped_storage().nbytes() < needed:
            return "memory that was freed"
    if written and not tensor.is_contiguous():
        if any(s == 0 and n > 1 for n, s in zip(tensor.shape, tensor.stride(), strict=True)):
            return "expanded: several weights in one place of memory"
    return ""


def stretch(tensor: Tensor) -> bool:
    """Tell whether a tensor is one stretch of the CPU's memory, in any order of its dimensions.

    >>> stretch(torch.ones(2, 3).t()), stretch(torch.ones(4, 4)[:, :2])
    (True, False)
    """
    if not tensor.is_cpu or tensor.layout != torch.strided or not dense(tensor):
        return False
    try:
        return bool(tensor.data_ptr()) or not tensor.numel()
    except RuntimeError:  # a class that has no memory of its own
        return False


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
