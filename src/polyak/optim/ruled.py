"""A torch optimizer made of a rule: groups, state, hooks, scalers and files are torch's ways, the
step is the rule.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from polyak.errors import UsageError
from polyak.optim import engine
from polyak.optim.average import ANEW, Average
from polyak.optim.lineup import known, line_up
from polyak.optim.mismatch import MismatchError
from polyak.optim.norm import norm_of
from polyak.optim.state import Portable, as_count
from polyak.optim.translate import signature

Rate = float | Tensor  # a learning rate


class OptionError(UsageError, ValueError):
    """An optimizer's option has a value that it cannot have.

    >>> issubclass(OptionError, ValueError)
    True
    """


class GradientError(UsageError, RuntimeError):
    """A gradient or a parameter is of a kind that the rules do not cover.

    >>> issubclass(GradientError, RuntimeError)
    True
    """


class Options(TypedDict, total=False):
    """What every optimizer takes besides its rule's own hyperparameters.

    maximize: climb instead of descend. max_norm: clip all gradients together to this Euclidean
    length, inside the step. averages: `Average`s brought up to date inside the step. foreach,
    fused: taken for torch's sake, every engine of polyak is fused. capturable, differentiable: must
    be false.
    """

    maximize: bool
    max_norm: float | None
    averages: Sequence[Average]
    foreach: bool | None
    fused: bool | None
    capturable: bool
    differentiable: bool


class Ruled(Portable):
    """Step by a rule; the classes of `polyak.optim` say which.

    Class attributes: decoupled (weight decay shrinks weights instead of joining the
    gradient); elementwise (the rule treats every weight alone, so that a loop may run it); filled
    (hyperparameters that change from step to step, which no option gives); hyper_keys (torch's
    names of the hyperparameters, where they differ from the rule's).
    """

    decoupled: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True
    filled: ClassVar[tuple[str, ...]] = ("t",)
    hyper_keys: ClassVar[dict[str, Any]] = {
        "learning_rate": "lr",
        "beta1": ("betas", 0),
        "beta2": ("betas", 1),
    }
    _step_supports_amp_scaling = True
    _apart: ClassVar[Any] = None  # `_step_all`, shielded from compilers

    def __init__(self, params: ParamsT, defaults: dict[str, Any], options: Options):
        rest: dict[str, Any] = dict(options)
        self.averages: list[Average] = list(rest.pop("averages", ()))
        self._memos = {}
        common = {"maximize": False, "max_norm": None, "foreach": None, "fused": None}
        common |= {"capturable": False, "differentiable": False}
        unknown = sorted(set(rest) - set(common))
        if unknown:
            raise TypeError(
                f"{type(self).__name__}() got an unexpected keyword argument '{unknown[0]}'"
            )
        if rest.get("foreach") and rest.get("fused"):
            raise GradientError(
                "`fused` and `foreach` cannot be `True` together", then="name one or none"
            )
        for name in ("capturable", "differentiable"):
            if rest.get(name):
                raise GradientError(
                    f"{name}=True is not supported", where=type(self).__name__, then="leave it out"
                )
        super().__init__(params, defaults | common | rest)
        self._keep_apart()

    @staticmethod
    def _keep_apart() -> None:
        """Keep a compiler that compiles the caller out of the step: it brings compiled code.

        Not a decorator: asking torch for it imports the compiler, seconds that only those pay who
        make an optimizer.
        """
        if Ruled._apart is None:
            Ruled._apart = torch.compiler.disable(Ruled._step_all)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._keep_apart()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with its own options; impossible values are refused here."""
        super().add_param_group(param_group)
        try:
            check(self.param_groups[-1], type(self).__name__)
        except OptionError:
            del self.param_groups[-1]
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "averages": self.averages}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; returns the closure's loss, or None.

        Args:
            closure: computes the loss and the gradients anew.

        Raises:
            GradientError: a gradient is sparse, or a parameter is complex or an integer.
            MismatchError: a gradient, a state or an average has another shape or device than its
                parameter: a layer was grown, pruned or moved. Nothing was stepped.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        Ruled._apart(self)
        return loss

    def _step_all(self):
        found_inf = getattr(self, "found_inf", None)  # set by GradScaler, as grad_scale
        if found_inf is not None and float(found_inf):
            return
        # everything is compared before anything is changed
        groups = [self._line_up(number, group) for number, group in enumerate(self.param_groups)]
        others = self._line_up_others(groups) if self.averages else []
        grad_scale = getattr(self, "grad_scale", None)
        unscale = 1.0 if grad_scale is None else 1.0 / float(grad_scale)
        length = None
        if any(group["max_norm"] is not None for group in self.param_groups):
            length = norm_of([lineup for lineup, _ in groups]) * unscale
        decays = [average.advance() for average in self.averages]
        for number, (lineup, states) in enumerate(groups):
            if lineup.columns[0]:
                self._step_group(number, lineup, states, unscale, length, decays)
        for average, lineup in zip(self.averages, others, strict=True):
            if lineup is not None:
                average.take(lineup)

    def _line_up(self, number, group):
        """Line up x, dx, the rule's state and the averages of the parameters with a gradient."""
        parameters, gradients = group["params"], [p.grad for p in group["params"]]
        if type(None) in set(map(type, gradients)):
            parameters = [p for p in parameters if p.grad is not None]
            gradients = [p.grad for p in parameters]
        keys = self._state_keys()
        states = [self.state[p] for p in parameters] if keys or self.numbers else []
        if not all(states):
            refuse(parameters, gradients)
            for p, state in zip(parameters, states, strict=True):
                if not state:
                    self._start(p)
        try:
            kept = [list(map(itemgetter(key), states)) for key in keys]
        except KeyError:
            kept = [[state.get(key) for state in states] for key in keys]  # which is refused
        tests = [average.column(parameters) for average in self.averages]
        columns = [parameters, gradients, *kept, *tests]
        memo = self._memos.setdefault(number, {})
        lineup = known(columns, memo)
        if lineup is None:
            refuse(parameters, gradients)
            try:
                lineup = line_up(columns, memo, self.elementwise)
            except MismatchError as error:
                raise self._explained(error, number, parameters[error.place]) from None
        return lineup, states

    def _line_up_others(self, groups):
        stepped = {id(p) for lineup, _ in groups for p in lineup.columns[0]}
        return [average.line_up_others(stepped) for average in self.averages]

    def _explained(self, error, number, p):
        """Name the parameter that an error is about, and say what to do next."""
        moved = "optimizer.load_state_dict(optimizer.state_dict()) moves state to its parameter"
        anew = "make a new optimizer, or begin this state anew: optimizer.state.pop(parameter)"
        state = moved if error.why.startswith("device") else anew
        advice = [
            ("a parameter cannot be stepped", "give it memory of its own before the step"),
            ("the gradient does not fit", "optimizer.zero_grad(), then backward() again"),
            *((f"{key} does not fit its parameter", state) for key in self._state_keys()),
        ]
        average = "the average does not fit its parameter", ANEW
        what, then = [*advice, *[average] * len(self.averages)][error.column]
        return error.named(what, self._name(number, p), then)

    def _name(self, number, p):
        group = self.param_groups[number]
        place = next(k for k, other in enumerate(group["params"]) if other is p)
        known = [group["param_names"][place]] if "param_names" in group else []
        known += [name for average in self.averages if (name := average.name_of(p))]
        return known[0] if known else f"group {number}, parameter {place}"

    def _step_group(self, number, lineup, states, unscale, length, decays):
        group = self.param_groups[number]
        scale = -unscale if group["maximize"] else unscale
        if length is not None and group["max_norm"] is not None:
            scale = scale * clip(length, group["max_norm"])
        rate, decay = float(group["lr"]), group["weight_decay"]
        l2, shrink = (0.0, 1 - rate * decay) if self.decoupled else (decay, 1.0)
        hypers = self._hypers(number, group, states)
        for hyper, places in hypers:
            part = lineup if len(hypers) == 1 else lineup.part(places)
            work = engine.Pass(type(self).rule, hyper, scale, l2, shrink, decays)
            engine.run(work, part, None if self.elementwise else "eager")

    def _hypers(self, number, group, states) -> list[tuple[dict[str, float], list[int]]]:
        """Give the hyperparameters and the places they hold for: counts can differ in a group."""
        names = signature(type(self).rule).hyper
        fixed = {name: self._option(group, name) for name in names if name not in self.filled}
        if not self.numbers:
            return [(fixed, [])]
        counts = self._count(number, states)
        if "t" not in names:
            return [(fixed, [])]
        return [({**fixed, "t": t}, places) for t, places in places_of(counts).items()]

    def _count(self, number, states):
        memo = self._memos.setdefault((number, "step"), {})
        try:
            return engine.count([state["step"] for state in states], memo)
        except ValueError:  # somebody's own numbers
            for state in states:
                state["step"] = as_count(state["step"])
            return engine.count([state["step"] for state in states], memo)

    def _option(self, group, name):
        key = self.hyper_keys.get(name, name)
        return float(group[key[0]][key[1]] if isinstance(key, tuple) else group[key])

    def _start(self, p):
        if self.numbers:
            self.state[p]["step"] = torch.tensor(0.0)
        for key in self._state_keys():
            zeros = torch.zeros_like(
                p, dtype=engine.wide_dtype(p.dtype), memory_format=torch.preserve_format
            )
            self.state[p][key] = zeros


def places_of(numbers: Sequence[float]) -> dict[float, list[int]]:
    """Group the places of numbers by their value.

    >>> places_of([2.0, 3.0, 2.0])
    {2.0: [0, 2], 3.0: [1]}
    """
    if numbers.count(numbers[0]) == len(numbers):
        return {numbers[0]: list(range(len(numbers)))}
    places: dict[float, list[int]] = {}
    for place, number in enumerate(numbers):
        places.setdefault(number, []).append(place)
    return places


def clip(length: float | Tensor, max_norm: float) -> float | Tensor:
    """Say what to multiply gradients of this length with, as `torch.nn.utils.clip_grad_norm_` does.

    >>> round(clip(4.0, 2.0), 6), clip(1.0, 2.0)
    (0.5, 1.0)
    """
    factor = max_norm / (length + 1e-6)
    return (
        factor.clamp(max=1.0)
        if isinstance(factor, Tensor)
        else (factor if not factor > 1.0 else 1.0)
    )


def check(group: dict[str, Any], name: str) -> None:
    """Refuse options that no rule can take.

    >>> check({"lr": -1.0}, "SGD")
    Traceback (most recent call last):
    ...
    polyak.optim.ruled.OptionError: Invalid learning rate: -1.0: SGD. Next: take a number >= 0
    """
    words = {"lr": "learning rate", "eps": "epsilon value", "weight_decay": "weight_decay value"}
    for key in ("lr", "eps", "weight_decay", "momentum", "alpha", "momentum_decay", "max_norm"):
        value = group.get(key)
        if isinstance(value, Tensor) and value.numel() != 1:
            raise OptionError("Tensor lr must be 1-element", where=name, then="take a 0-d tensor")
        if value is not None and not float(value) >= 0.0:
            shown = float(value)
            raise OptionError(
                f"Invalid {words.get(key, key)}: {shown}", where=name, then="take a number >= 0"
            )
    for place, value in enumerate(group.get("betas", ())):
        if not 0.0 <= float(value) < 1.0:
            what = f"Invalid beta parameter at index {place}: {float(value)}"
            raise OptionError(what, where=name, then="take a number from 0 up to 1, without 1")


def refuse(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Raise a GradientError for the first parameter or gradient that the rules do not cover.

    >>> refuse([torch.ones(2)], [torch.ones(2)])
    """
    odd = {dx.layout for dx in gradients} - {torch.strided}
    if not odd and all(dtype.is_floating_point for dtype in {p.dtype for p in parameters}):
        return
    for p, dx in zip(parameters, gradients, strict=True):
        where = f"parameter of shape {tuple(p.shape)}"
        if dx.layout in odd:
            then = "make the embedding with sparse=False, or use torch.optim.SparseAdam"
            raise GradientError("sparse gradients are not supported", where=where, then=then)
        if not p.is_floating_point():
            then = "train a view: torch.view_as_real(parameter)"
            raise GradientError(f"{p.dtype} parameters are not supported", where=where, then=then)
