"""State dictionaries: torch's own, so that a run can change hands, and exact, so that it can
resume.
"""

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

    Class attributes: rule; state_keys (torch's name for the rule's state); torch_only (options that
    torch's class has and the rule has not, each with the values that it may have; the first is what
    `state_dict` writes).
    """

    state_keys: ClassVar[dict[str, str]] = {}
    torch_only: ClassVar[dict[str, tuple]] = {}
    _loading: dict[str, Any]

    rule: ClassVar[Callable]

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
            RefusedError: it was saved with an option that this rule does not have (`amsgrad=True`).
            ValueError: it belongs to other parameters.
        """

        def last(optimizer, final):
            _refuse(type(self).__name__, final["param_groups"], self.torch_only)
            self._loading = final

        # the hook comes after the user's own, which may have replaced the dictionary
        handle = self.register_load_state_dict_pre_hook(last)
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
            self.__dict__.pop("_loading", None)

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
                    values = self._from_torch(saved["state"][number], new)
                    own = {
                        key: _like(p, value) if key in self._state_keys() else _number(key, value)
                        for key, value in values.items()
                    }
                    self.state[p] = own

    def _from_torch(self, values: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
        return values


def _like(p: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(p, dtype=wide_dtype(p.dtype), requires_grad=False).copy_(value)


def _number(key: str, value: Any) -> Any:
    """Copy a count: old torch saved it as a plain number, fused torch on the device."""
    if not isinstance(value, Tensor | int | float):
        return value
    kept = value.dtype if isinstance(value, Tensor) and key != "step" else torch.float32
    return torch.as_tensor(value).detach().to("cpu", kept, copy=True)


def _refuse(name, groups, torch_only):
    for group in groups:
        for key, values in torch_only.items():
            if key in group and values and group[key] not in values:
                raise RefusedError(
                    "cannot go on from this optimizer state",
                    where=name,
                    why=f"it was saved with {key}={group[key]!r}",
                    then=f"use the class for {key}, or start without the old state",
                )
