"""Nesterov momentum: the slide's velocity holds the learning rate, torch's buffer does not."""

from collections.abc import Callable
from typing import Any, ClassVar, Unpack

import torch
from torch.optim.optimizer import ParamsT

from polyak.optim import rules
from polyak.optim.ruled import Options, Rate, Ruled


class Nesterov(Ruled):
    """SGD with Nesterov momentum (slide 'Nesterov Momentum').

    At a constant rate the same as `torch.optim.SGD(params, lr, momentum, nesterov=True)`. The
    slide's velocity holds the rate, torch's buffer does not: torch's state is converted by the
    first step that has a rate, `torch_state_dict` converts back.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = Nesterov([x], lr=0.5, momentum=0.5)
    >>> x.sum().backward(); optimizer.step(); x.tolist()
    [0.25, 0.25]
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.nesterov)
    hyper_keys: ClassVar[dict[str, Any]] = Ruled.hyper_keys | {"rho": "momentum"}
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {"dampening": (), "nesterov": ()}
    _from_torch = False  # whether a buffer of torch's waits for a rate

    def __init__(
        self,
        params: ParamsT,
        lr: Rate = 1e-3,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ):
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}, options
        )

    def state_dict(self) -> dict[str, Any]:
        """Give the state; `velocity_lr`, the rate that the velocities hold, where it is not lr."""
        saved = super().state_dict()
        for group in saved["param_groups"]:
            if group.get("velocity_lr") == float(group["lr"]):
                del group["velocity_lr"]
        return saved

    def torch_state_dict(self) -> dict[str, Any]:
        """Give the state as `torch.optim.SGD(nesterov=True)` loads it: its buffer is -velocity /
        the rate of the last step that had one.

        A velocity whose rate is not known, from a file of an earlier version saved at rate 0, is
        left out: torch begins its momentum anew.

        >>> x = torch.ones(2, requires_grad=True)
        >>> optimizer = Nesterov([x], lr=0.5); x.sum().backward(); optimizer.step()
        >>> optimizer.torch_state_dict()["state"][0]["momentum_buffer"].tolist()
        [1.0, 1.0]
        """
        saved = self.state_dict()
        states = {}
        for group in saved["param_groups"]:
            rate = group.pop("velocity_lr", float(group["lr"]))
            group |= {"dampening": 0, "nesterov": True}
            for number in group["params"]:
                state = saved["state"].get(number, {})
                if "momentum_buffer" in state:
                    states[number] = {"momentum_buffer": state["momentum_buffer"].clone()}
                elif state and rate > 0:
                    states[number] = {"momentum_buffer": state["velocity"] / -rate}
        return saved | {"state": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._from_torch = any("momentum_buffer" in values for values in self.state.values())
        for group in self.param_groups:
            if "velocity_lr" not in group and any(p in self.state for p in group["params"]):
                group["velocity_lr"] = float(group["lr"])

    def _tensor_keys(self):
        return ["velocity", "momentum_buffer"]

    def _needed(self, values):
        return [] if "momentum_buffer" in values else ["velocity"]

    def _line_up(self, number, group):
        if self._from_torch:
            self._convert(group)
        return super()._line_up(number, group)

    def _convert(self, group):
        """Make velocities of torch's buffers; at rate 0, which no velocity holds, they wait."""
        rate = float(group["lr"])
        for p in group["params"]:
            state = self.state.get(p, {})
            if p.grad is None or "momentum_buffer" not in state:
                continue
            if rate > 0:
                state["velocity"] = state.pop("momentum_buffer").mul_(-rate)
            else:
                state.setdefault("velocity", torch.zeros_like(state["momentum_buffer"]))
        self._from_torch = any("momentum_buffer" in state for state in self.state.values())

    def _step_group(self, number, lineup, states, unscale, length, decays):
        super()._step_group(number, lineup, states, unscale, length, decays)
        rate = float(self.param_groups[number]["lr"])
        if rate > 0:
            self.param_groups[number]["velocity_lr"] = rate
