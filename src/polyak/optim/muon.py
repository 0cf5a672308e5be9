"""Muon for matrices and convolutions, and another rule for all other weights, as one optimizer."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from polyak.errors import UsageError
from polyak.optim import rules
from polyak.optim.average import Average
from polyak.optim.nesterov import Nesterov
from polyak.optim.optimizers import AdamW
from polyak.optim.ruled import Options, Rate, Ruled

OTHERS = {"adamw": AdamW, "nesterov": Nesterov}


class Matrices(Ruled):
    """Step matrices by the matrix sign of their momentum; the same as `torch.optim.Muon`.

    >>> x = torch.eye(2, requires_grad=True)
    >>> optimizer = Matrices([x], lr=0.5); x.sum().backward(); optimizer.step(); x.shape
    torch.Size([2, 2])
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.muon)
    decoupled: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False
    hyper_keys: ClassVar[dict[str, Any]] = Ruled.hyper_keys | {"rho": "momentum"}
    state_keys: ClassVar[dict[str, str]] = {"velocity": "momentum_buffer"}
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {
        "nesterov": (True,),
        "ns_coefficients": ((3.4445, -4.775, 2.0315),),
        "eps": (1e-7,),
        "ns_steps": (5,),
        "adjust_lr_fn": (None, "original"),
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Rate = 1e-3,
        momentum: float = 0.95,
        *,
        weight_decay: float = 0.1,
        **options: Unpack[Options],
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults, options)


class MuonOptions(Options, total=False):
    """What `Muon` takes besides: `others_lr`, the rate of all that is no matrix.

    >>> options: MuonOptions = {"others_lr": 1e-3}
    """

    others_lr: Rate


class Muon(Optimizer):
    """Step matrices and convolutions by Muon, and biases, norms and what else there is by AdamW or
    Nesterov momentum.

    A group may say `muon=False` for weights that are matrices and better go by the other rule:
    embeddings, and often the last layer.

    Args:
        params: parameters or groups of them; those of two dimensions and more are matrices.
        lr: of the matrices; every step moves each of their directions by it.
        momentum: of the matrices.
        weight_decay: of all, decoupled; of Nesterov it joins the gradient.
        others: the rule of all others, "adamw" or "nesterov".
        options: `others_lr`, the rate of those, 1e-3; a scheduler scales both. `averages` that are
            brought up to date after the step, `maximize`; no `max_norm`.

    Raises:
        UsageError: no such rule, or a group of matrices that are none.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.

    >>> network = torch.nn.Linear(3, 2)
    >>> optimizer = Muon(network.parameters(), lr=0.02, others_lr=1e-3)
    >>> network(torch.ones(1, 3)).sum().backward(); optimizer.step()
    >>> [(group["muon"], group["lr"]) for group in optimizer.param_groups]
    [(True, 0.02), (False, 0.001)]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Rate = 0.02,
        momentum: float = 0.95,
        *,
        weight_decay: float = 0.0,
        others: str = "adamw",
        **options: Unpack[MuonOptions],
    ):
        if others not in OTHERS:
            then = " or ".join(OTHERS)
            raise UsageError("no such rule beside Muon", where=f"others={others!r}", then=then)
        others_lr = options.pop("others_lr", 1e-3)
        matrices, flat = _split(params, lr, others_lr)
        more: dict[str, Any] = dict(options)
        self.averages: list[Average] = list(more.pop("averages", ()))
        if options.get("max_norm") is not None:
            then = "torch.nn.utils.clip_grad_norm_ before the step"
            raise UsageError("Muon clips no gradients", where="max_norm", then=then)
        self.parts: list[Ruled] = []
        if matrices:
            part = Matrices(matrices, lr, momentum, weight_decay=weight_decay, **more)
            self.parts.append(part)
        if flat:
            self.parts.append(OTHERS[others](flat, others_lr, weight_decay=weight_decay, **more))
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both rules work on the groups and the state of the whole."""
        for part, groups in self._parted(self.param_groups):
            part.param_groups = groups
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; returns the closure's loss, or None.

        Args:
            closure: computes the loss and the gradients anew.

        Raises:
            GradientError: a gradient is sparse, or a parameter is complex or an integer.
            MismatchError: a gradient or a state has another shape than its parameter. Nothing was
                stepped.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:  # everything is compared before anything is changed
            for number, group in enumerate(part.param_groups):
                part._line_up(number, group)
        for part in self.parts:
            part.step()
        for average in self.averages:
            average.advance()
            if (lineup := average.line_up_others(set())) is not None:
                average.take(lineup)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Give the state under torch's names; of matrices alone `torch.optim.Muon` can load it."""
        saved = super().state_dict()
        for part, groups in self._parted(saved["param_groups"]):
            for group in groups:
                for key, values in part.torch_only.items():
                    if values:
                        group.setdefault(key, values[0])
        return saved

    def _parted(self, groups: list[dict[str, Any]]) -> Iterator[tuple[Ruled, list[dict[str, Any]]]]:
        """Deal groups, as saved or as they are, to the rules that they go by."""
        place = 0
        for part in self.parts:
            count = len(part.param_groups)
            yield part, groups[place : place + count]
            place += count

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of this class; of matrices alone that of `torch.optim.Muon` too.

        Raises:
            ValueError: it belongs to other parameters.
            RefusedError: it was saved with an option that the rule does not have, or for a
                parameter of another shape.
        """
        groups = state_dict["param_groups"]
        if [len(one["params"]) for one in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError("the state belongs to other groups of parameters")
        parted = list(self._parted(groups))
        # each rule reads its own part with its own suspicion, and nothing is kept until all have
        loaded = []
        for part, own in parted:
            numbers = {number for group in own for number in group["params"]}
            state = {k: v for k, v in state_dict["state"].items() if k in numbers}
            copied = copy.copy(part)
            copied.load_state_dict({"state": state, "param_groups": own})
            loaded.append(copied)
        self.state = defaultdict(dict)
        for copied in loaded:
            self.state.update(copied.state)
        self.param_groups = [group for copied in loaded for group in copied.param_groups]
        self._share()


def _split(params: Any, lr: Rate, others_lr: Rate) -> tuple[list[dict], list[dict]]:
    """Part parameters into groups of matrices and groups of others, each with its rate."""
    given: Iterable[Any] = list(params)
    groups = [dict(one) if isinstance(one, dict) else {"params": [one]} for one in given]
    if groups and not isinstance(given[0], dict):
        groups = [{"params": [one for group in groups for one in group["params"]]}]
    matrices, others = [], []
    for group in groups:
        held = group.pop("params")
        held = [held] if isinstance(held, Tensor) else list(held)
        by = group.pop("muon", None)
        flat = [p for p in held if by is False or p.ndim < 2]
        if by and flat:
            where = f"shape {tuple(flat[0].shape)}"
            raise UsageError("muon=True is for matrices", where=where, then="leave it away")
        deep = [p for p in held if not any(p is one for one in flat)]
        rate: Any = group.get("lr")
        if deep:
            matrices.append({**group, "params": deep, "muon": True, "lr": rate or lr})
        if flat:
            scaled = others_lr if rate is None else float(rate) * float(others_lr) / float(lr)
            others.append({**group, "params": flat, "muon": False, "lr": scaled})
    return matrices, others
