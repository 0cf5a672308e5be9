"""State dictionaries: torch's own, so that a run can change hands, and exact, so that it can
resume.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from polyak.errors import RefusedError
from polyak.optim.engine import wide_dtype
from polyak.optim.translate import signature


class Portable(Optimizer):
    """An optimizer with a rule, whose state torch's own class can go on from, and the other way.

    Class attributes: rule; state_keys (torch's name for the rule's state); numbers (what a state
    holds besides, one number each: `step`); torch_only (options that torch's class has and the rule
    has not, each with the values that it may have; the first is what `state_dict` writes).
    """

    state_keys: ClassVar[dict[str, str]] = {}
    numbers: ClassVar[tuple[str, ...]] = ()
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    _loading: dict[str, Any]

    rule: ClassVar[Callable[..., Any]]

    def _state_keys(self) -> list[str]:
        names = signature(type(self).rule).state
        return [self.state_keys.get(name, name) for name in names]

    def state_dict(self) -> dict[str, Any]:
        """Give the state under torch's names: torch's class for the same algorithm can load it, and
        this one.
        """
        saved = super().state_dict()
        for group in saved["param_groups"]:
            for key, values in self.torch_only.items():
                if values:
                    group.setdefault(key, values[0])
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of this class or of torch's; half-precision weights keep float32
        state.

        Args:
            state_dict: from this class, or from torch's class for the same algorithm.

        Raises:
            RefusedError: it was saved with an option that this rule does not have (`amsgrad=True`),
                by another rule, or for a parameter of another shape. Nothing was loaded.
            ValueError: it belongs to other parameters.
        """

        def last(optimizer, final):
            _refuse(type(self).__name__, final["param_groups"], self.torch_only)
            self._compare(final)
            self._loading = final

        # the hook comes after the user's own, which may have replaced the dictionary
        handle = self.register_load_state_dict_pre_hook(last)
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
            self.__dict__.pop("_loading", None)

    def _compare(self, saved: Mapping[str, Any]) -> None:
        """Refuse a state that the rule cannot go on from, before anything of it is taken over."""
        for group, (old, new) in enumerate(
            zip(saved["param_groups"], self.param_groups, strict=False)
        ):
            names = new.get("param_names", {})
            for place, (number, p) in enumerate(zip(old["params"], new["params"], strict=False)):
                why = self._unfit(saved["state"].get(number), p)
                if why:
                    where = names[place] if names else f"group {group}, parameter {place}"
                    raise RefusedError(
                        "cannot go on from this optimizer state",
                        where=where,
                        why=why,
                        kept="nothing was loaded",
                        then="load the state that belongs to these parameters, or start without it",
                    )

    def _unfit(self, values: Any, p: Tensor) -> str:
        """Say why a parameter's saved state cannot be its own, or nothing."""
        if not isinstance(values, Mapping):
            return "" if values is None else f"it is a {type(values).__name__}"
        values = {key: value for key, value in values.items() if value is not None}
        for key, value in values.items():
            if key not in self._tensor_keys() and key not in self.numbers:
                continue
            shape = tuple(getattr(value, "shape", ()))
            if key in self.numbers and math.prod(shape) != 1:
                return f"{key} is not one number, its shape is {shape}"
            if key not in self.numbers and (not isinstance(value, Tensor) or shape != p.shape):
                return f"{key} has shape {shape}, the parameter {tuple(p.shape)}"
        lacking = [key for key in self._needed(values) if key not in values]
        return f"it has no {lacking[0]}" if values and lacking else ""

    def _tensor_keys(self) -> list[str]:
        """Name what a state may hold of the parameter's shape."""
        return self._state_keys()

    def _needed(self, values: Mapping[str, Any]) -> list[str]:
        """Name what a state must hold for the rule to go on from it."""
        return [*self._state_keys(), *self.numbers]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("averages", [])
        self._memos = {}
        for group in self.param_groups:
            for key, value in self.defaults.items():
                group.setdefault(key, value)
            for key in self.torch_only:
                if key not in self.defaults:
                    group.pop(key, None)
        if "_loading" in self.__dict__:
            self._restore(self._loading)

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Put back what torch cast to the type of the weights, each tensor in the memory order of
        its weights.
        """
        for old, new in zip(saved["param_groups"], self.param_groups, strict=True):
            for number, p in zip(old["params"], new["params"], strict=True):
                if number in saved["state"]:
                    self.state[p] = {
                        key: _like(p, value) if key in self._tensor_keys() else _number(key, value)
                        for key, value in saved["state"][number].items()
                        if value is not None
                    }


def _like(p: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(p, dtype=wide_dtype(p.dtype), requires_grad=False).copy_(value)


def _number(key: str, value: Any) -> Any:
    """Copy a count: old torch saved it as a plain number, fused torch on the device."""
    if key == "step":
        return as_count(value)
    if not isinstance(value, Tensor | int | float):
        return value
    kept = value.dtype if isinstance(value, Tensor) else torch.float32
    return torch.as_tensor(value).detach().to("cpu", kept, copy=True)


def as_count(value: Tensor | float) -> Tensor:
    """Make a count as the loops take it: one float32 number on the CPU.

    >>> as_count(3)
    tensor(3.)
    """
    return torch.as_tensor(value).detach().to("cpu", torch.float32, copy=True).reshape(())


def _refuse(name, groups, torch_only):
    for group in groups:
        for key, values in torch_only.items():
            found = group.get(key)
            found = tuple(found) if isinstance(found, list) else found  # as files keep tuples
            if key in group and values and found not in values:
                raise RefusedError(
                    "cannot go on from this optimizer state",
                    where=name,
                    why=f"it was saved with {key}={group[key]!r}",
                    then=f"use the class for {key}, or start without the old state",
                )
