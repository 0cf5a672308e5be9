"""Averages of the weights, to test with: exponential or uniform, around any optimizer or inside
polyak's step.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from polyak.errors import RefusedError, UsageError
from polyak.optim import engine
from polyak.optim.batch_norm import refreshed_batch_norm
from polyak.optim.rules import polyak, uniform_decay


class Average:
    """Keep `x_test`, the running average of a model's floating-point parameters, in float32 or
    better.

    Args:
        model: its parameters now are where the average starts.
        decay: share of the old average that each update keeps; 0.995 on the slide.
        half_life: the same in updates: a weight counts half after so many.
        uniform: average all updates alike instead (stochastic weight averaging).
        start: updates to let pass before averaging begins; until then the average is the model
            itself.
        warm_up: let the decay grow as (1 + n) / (10 + n), so that a short run forgets its first
            weights.

    Raises:
        UsageError: both or impossible decays.

    Source: slide 'Polyak averaging'; Polyak & Juditsky 1992; Izmailov et al. 2018; the warm-up is
    TensorFlow's ExponentialMovingAverage.

    >>> model = nn.Linear(1, 1)
    >>> average = Average(model, uniform=True)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, value); average.update(model)
    >>> with average.swapped_in(model):
    ...     model.weight.item()
    3.0
    >>> model.weight.item()
    6.0
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        decay: float | None = None,
        half_life: float | None = None,
        uniform: bool = False,
        start: int = 0,
        warm_up: bool = True,
    ):
        if sum((decay is not None, half_life is not None, uniform)) > 1:
            raise UsageError(
                "an average takes one of decay, half_life, uniform", then="name one of them"
            )
        if half_life is not None and not half_life > 0:
            raise UsageError(
                f"half_life {half_life} is not positive", then="give it in updates, such as 500"
            )
        if half_life is not None:
            decay = 0.5 ** (1 / half_life)
        decay = 0.995 if decay is None else float(decay)
        if not 0 <= decay < 1:
            raise UsageError(f"decay {decay} is not in [0, 1)", then="take one such as 0.995")
        self.settings = {"decay": decay, "uniform": uniform, "start": start, "warm_up": warm_up}
        self.count = 0
        self._now = 1.0
        self._parameters = dict(_floating(model))
        self.x_test = {
            name: p.detach().to(engine.wide_dtype(p.dtype), copy=True)
            for name, p in self._parameters.items()
        }
        self._names = {id(p): name for name, p in self._parameters.items()}

    def update(self, model: nn.Module) -> None:
        """Take the model's weights into the average; call it after every optimizer step.

        Raises:
            UsageError: the model has other parameters than the averaged one.
        """
        decay = self.advance()
        parameters = dict(_floating(model))
        if parameters.keys() != self.x_test.keys():
            odd = min(parameters.keys() ^ self.x_test.keys())
            raise UsageError(
                "the model's parameters are not the average's", where=odd, then="make a new Average"
            )
        self._take(parameters, decay)

    def advance(self) -> float:
        """Count one update and give the decay it is made with; 1 keeps the average as it is.

        >>> average = Average(nn.Linear(1, 1), decay=0.9)
        >>> average.advance(), average.advance()
        (0.18181818181818182, 0.25)
        """
        self.count += 1
        n = self.count - self.settings["start"]
        if n < 1:
            self._now = 1.0
        elif self.settings["uniform"]:
            self._now = uniform_decay(n)
        elif n == 1 and self.settings["start"]:
            self._now = 0.0  # the weights from before the start do not belong to the average
        else:
            warm = (1 + n) / (10 + n) if self.settings["warm_up"] else 1.0
            self._now = min(self.settings["decay"], warm)
        return self._now

    def of(self, parameter: Tensor) -> Tensor:
        """Find the average of one parameter of the model that the average was made for.

        Raises:
            UsageError: the parameter is none of them.
        """
        name = self._names.get(id(parameter))
        if name is None:
            raise UsageError(
                "the optimizer has a parameter that the average does not know",
                where=f"shape {tuple(parameter.shape)}",
                then="make the Average of the whole model, after its parameters have their place",
            )
        return self.x_test[name]

    def finish(self, done: set[int]) -> None:
        """Complete an update that an optimizer's step began: average the parameters whose ids are
        not in `done`.
        """
        rest = {name: p for name, p in self._parameters.items() if id(p) not in done}
        self._take(rest, self._now)

    @torch.no_grad()
    def _take(self, parameters, decay):
        if parameters:
            tests = [self.x_test[name] for name in parameters]
            columns = [tests, [p.detach() for p in parameters.values()]]
            engine.apply(engine.Pass(polyak, {"decay": decay}), columns)

    @contextmanager
    def swapped_in(self, model: nn.Module, batches: Iterable | None = None) -> Iterator[nn.Module]:
        """Give the model the averaged weights for a while; its own come back exactly, also after an
        error.

        Args:
            model: the averaged model, or one with the same parameters.
            batches: input batches (N, ...) to re-estimate batch-norm statistics with; they too come
                back.

        >>> model = nn.Linear(1, 1)
        >>> with Average(model).swapped_in(model) as averaged:
        ...     averaged is model
        True
        """
        own = {name: p.detach().clone() for name, p in _floating(model)}
        if self.count > self.settings["start"]:
            self.copy_to(model)
        try:
            with refreshed_batch_norm(model, batches) if batches is not None else nullcontext():
                yield model
        finally:
            with torch.no_grad():
                for name, p in _floating(model):
                    p.copy_(own[name])

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the averaged weights into a model for good.

        >>> model = nn.Linear(1, 1)
        >>> Average(model).copy_to(model)
        """
        for name, p in _floating(model):
            p.copy_(self.x_test[name])

    def state_dict(self) -> dict[str, Any]:
        """Give all that resuming needs: `count`, the settings, and `x_test` by parameter name.

        >>> sorted(Average(nn.Linear(1, 1)).state_dict())
        ['count', 'settings', 'x_test']
        """
        return {"count": self.count, "settings": dict(self.settings), "x_test": dict(self.x_test)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, to the bit.

        Raises:
            RefusedError: other parameters or other settings.
        """
        if state["x_test"].keys() != self.x_test.keys():
            odd = min(state["x_test"].keys() ^ self.x_test.keys())
            raise RefusedError(
                "cannot load this average", where=odd, why="the model has other parameters"
            )
        if state["settings"] != self.settings:
            raise RefusedError(
                "cannot load this average",
                why=f"it was made with {state['settings']}, this one with {self.settings}",
                then="make it with the same settings",
            )
        for name, x_test in self.x_test.items():
            x_test.copy_(state["x_test"][name])
        self.count = int(state["count"])

    def __deepcopy__(self, memo):
        from copy import deepcopy

        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__ = {key: deepcopy(value, memo) for key, value in self.__dict__.items()}
        twin._names = {id(p): name for name, p in twin._parameters.items()}
        return twin


def _floating(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, p in model.named_parameters():
        if p.is_floating_point():
            # DistributedDataParallel and torch.compile put their names before the model's
            yield name.replace("_orig_mod.", "").removeprefix("module."), p
