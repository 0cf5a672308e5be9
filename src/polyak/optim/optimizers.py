"""torch.optim.Optimizer classes, each made of one rule: drop-in, one pass over memory.

Options have torch's names (`lr momentum alpha betas eps weight_decay`), defaults are the slides'
(`eps=1e-7`).
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Unpack, cast

import torch
from torch.optim.optimizer import ParamsT

from polyak.optim import rules
from polyak.optim.ruled import Options, Rate, Ruled, places_of
from polyak.optim.translate import signature

Betas = tuple[float, float]
_MOMENTS = {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"}


class SGD(Ruled):
    """Stochastic gradient descent (slide 'SGD'); the same as `torch.optim.SGD(params, lr)`.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = SGD([x], lr=0.5); x.sum().backward(); optimizer.step(); x.tolist()
    [0.5, 0.5]
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.sgd)
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {
        "momentum": (0, 0.0),
        "dampening": (0, 0.0),
        "nesterov": (False,),
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Rate = 1e-3,
        *,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay}, options)


class Momentum(Ruled):
    """SGD with momentum (slide 'SGD+Momentum'); the same as `torch.optim.SGD(params, lr,
    momentum)`.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = Momentum([x], lr=0.5); x.sum().backward(); optimizer.step(); x.tolist()
    [0.5, 0.5]
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.momentum)
    hyper_keys: ClassVar[dict[str, Any]] = Ruled.hyper_keys | {"rho": "momentum"}
    state_keys: ClassVar[dict[str, str]] = {"velocity": "momentum_buffer"}
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {"dampening": (0, 0.0), "nesterov": (False,)}

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


class AdaGrad(Ruled):
    """Steps shrink with the root of all squared gradients (slide 'AdaGrad'); the same as
    `torch.optim.Adagrad`.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = AdaGrad([x], lr=0.5, eps=0.0); x.sum().backward(); optimizer.step(); x.tolist()
    [0.5, 0.5]
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.adagrad)
    numbers: ClassVar[tuple[str, ...]] = ("step",)
    state_keys: ClassVar[dict[str, str]] = {"grad_squared": "sum"}
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {
        "lr_decay": (0, 0.0),
        "initial_accumulator_value": (),
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Rate = 1e-2,
        *,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ):
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay}, options)


class RMSProp(Ruled):
    """Steps by the root of recent squared gradients (slide 'RMSProp'); the same as
    `torch.optim.RMSprop`.

    `alpha` is the slide's decay_rate.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = RMSProp([x], lr=0.5, alpha=0.75, eps=0.0)
    >>> x.sum().backward(); optimizer.step(); x.tolist()
    [0.0, 0.0]
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.rmsprop)
    numbers: ClassVar[tuple[str, ...]] = ("step",)
    hyper_keys: ClassVar[dict[str, Any]] = Ruled.hyper_keys | {"decay_rate": "alpha"}
    state_keys: ClassVar[dict[str, str]] = {"grad_squared": "square_avg"}
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {"momentum": (0, 0.0), "centered": (False,)}

    def __init__(
        self,
        params: ParamsT,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ):
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults, options)


class Adam(Ruled):
    """Momentum over RMSProp with unbiased moments (slide 'Adam'); the same as `torch.optim.Adam`.

    `bias_correction=False` is the slide's first form of it, "almost": the correction fades with
    1 - beta**t, so it is the same formula with a `t` beyond all bounds.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = Adam([x], lr=0.5, eps=0.0); x.sum().backward(); optimizer.step(); x.tolist()
    [0.5, 0.5]
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.adam)
    numbers: ClassVar[tuple[str, ...]] = ("step",)
    state_keys: ClassVar[dict[str, str]] = _MOMENTS
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {
        "amsgrad": (False,),
        "decoupled_weight_decay": (False,),
    }

    def __init__(
        self, params: ParamsT, lr: Rate = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-7,
        weight_decay: float = 0.0, *, bias_correction: bool = True, **options: Unpack[Options],
    ):  # fmt: skip
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"bias_correction": bias_correction}, options)

    def _hypers(self, number, group, states):
        hypers = super()._hypers(number, group, states)
        if group["bias_correction"]:
            return hypers
        return [({**hypers[0][0], "t": math.inf}, list(range(len(states))))]


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights themselves (Loshchilov & Hutter 2019); as
    `torch.optim.AdamW`.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = AdamW([x], lr=0.5, eps=0.0, weight_decay=0.5)
    >>> x.sum().backward(); optimizer.step(); x.tolist()
    [0.25, 0.25]
    """

    decoupled: ClassVar[bool] = True
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {
        "amsgrad": (False,),
        "decoupled_weight_decay": (True,),
    }

    def __init__(
        self, params: ParamsT, lr: Rate = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-7,
        weight_decay: float = 1e-2, *, bias_correction: bool = True, **options: Unpack[Options],
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, bias_correction=bias_correction, **options
        )


class NAdam(Ruled):
    """Adam that looks ahead as Nesterov does (Dozat 2016); the same as `torch.optim.NAdam`.

    The momentum warms up: beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)).

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = NAdam([x], lr=0.5); x.sum().backward(); optimizer.step(); x.dim()
    1
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.nadam)
    numbers: ClassVar[tuple[str, ...]] = ("step", "mu_product")
    state_keys: ClassVar[dict[str, str]] = _MOMENTS
    torch_only: ClassVar[dict[str, tuple[Any, ...]]] = {"decoupled_weight_decay": (False,)}

    def __init__(
        self, params: ParamsT, lr: Rate = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-7,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3, **options: Unpack[Options],
    ):  # fmt: skip
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"momentum_decay": momentum_decay}, options)

    filled: ClassVar[tuple[str, ...]] = ("t", "mu", "mu_next", "mu_product")

    def _start(self, p):
        super()._start(p)
        self.state[p]["mu_product"] = torch.tensor(1.0)

    def _hypers(self, number, group, states):
        filled = []
        for hyper, places in super()._hypers(number, group, states):
            mu, mu_next = (self._warm(group, hyper["t"] + ahead) for ahead in (0, 1))
            products = [state["mu_product"].mul_(mu) for state in (states[k] for k in places)]
            for product, inner in places_of([float(p) for p in products]).items():
                full = {**hyper, "mu": mu, "mu_next": mu_next, "mu_product": product}
                filled.append((full, [places[k] for k in inner]))
        return filled

    def _warm(self, group, t):
        return float(group["betas"][0]) * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"]))


class Lion(Ruled):
    """Steps of one length, by the sign of a momentum (Chen et al. 2023); weight decay shrinks the
    weights.

    Take a rate 3 to 10 times smaller than Adam's, and a decay as many times larger.

    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = Lion([x], lr=0.5); x.sum().backward(); optimizer.step(); x.tolist()
    [0.5, 0.5]
    """

    rule: ClassVar[Callable[..., Any]] = staticmethod(rules.lion)
    decoupled: ClassVar[bool] = True
    state_keys: ClassVar[dict[str, str]] = _MOMENTS

    def __init__(
        self,
        params: ParamsT,
        lr: Rate = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay}, options)


def optimizer_of(rule: Callable[..., Any], name: str | None = None) -> type[Ruled]:
    """Make an optimizer class of your own rule; it has every engine, `state_dict` and option of the
    others.

    Args:
        rule: `x, *state = rule(x, dx, *state, learning_rate, ...)`, plain arithmetic; `t` counts
            steps from 1.
        name: of the class; by default the rule's.

    >>> def friction(x, dx, velocity, learning_rate, keep=0.5):
    ...     velocity = keep * velocity - learning_rate * dx
    ...     return x + velocity, velocity
    >>> x = torch.ones(2, requires_grad=True)
    >>> optimizer = optimizer_of(friction)([x], lr=0.25, keep=0.9)
    >>> x.sum().backward(); optimizer.step(); x.tolist()
    [0.75, 0.75]
    """
    hyper = {n: v for n, v in signature(rule).hyper.items() if n not in ("learning_rate", "t")}

    class Own(Ruled):
        hyper_keys: ClassVar[dict[str, Any]] = {"learning_rate": "lr"}
        numbers: ClassVar[tuple[str, ...]] = ("step",) if "t" in signature(rule).hyper else ()

        def __init__(self, params, lr, *, weight_decay=0.0, **options):
            mine = {n: options.pop(n, v) for n, v in hyper.items()}
            defaults = {"lr": lr, "weight_decay": weight_decay} | mine
            super().__init__(params, defaults, cast(Options, options))

    Own.rule = staticmethod(rule)  # type: ignore[assignment]
    Own.__name__ = Own.__qualname__ = name or rule.__name__
    Own.__module__ = rule.__module__  # where it is found by this name, it can be pickled
    Own.__doc__ = rule.__doc__
    return Own
