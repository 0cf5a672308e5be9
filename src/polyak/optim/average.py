"""Averages of the weights, to test with: exponential or uniform, around any optimizer or inside
polyak's step.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from polyak.errors import RefusedError, UsageError
from polyak.optim import engine
from polyak.optim.batch_norm import refreshed_batch_norm
from polyak.optim.lineup import Lineup, known, line_up
from polyak.optim.mismatch import MismatchError, unusable
from polyak.optim.restore import put_back
from polyak.optim.rules import polyak, uniform_decay

UNFIT, ANEW = "the parameter does not fit its average", "make a new Average of the model"


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
        self.settings: dict[str, Any] = {
            "decay": decay,
            "uniform": uniform,
            "start": start,
            "warm_up": warm_up,
        }
        self.count: int = 0
        self._now = 1.0
        self._parameters = dict(_floating(model))
        self.x_test: dict[str, Tensor] = {
            name: p.detach().to(engine.wide_dtype(p.dtype), copy=True)
            for name, p in self._parameters.items()
        }
        self._find()

    def _find(self):
        """Prepare what holds in this process alone: identities and addresses."""
        self._names = {id(p): name for name, p in self._parameters.items()}
        self._memos: dict[str, dict[str, Any]] = {"update": {}, "others": {}}

    def __getstate__(self) -> dict[str, Any]:
        return {key: v for key, v in self.__dict__.items() if key not in ("_names", "_memos")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._find()

    def update(self, model: nn.Module) -> None:
        """Take the model's weights into the average; call it after every optimizer step.

        Raises:
            UsageError: the model has other parameters than the averaged one, or of other shapes;
                the average stays what it was.
        """
        lineup = self._line_up(self._matching(model), "update")
        self.advance()
        self.take(lineup)

    def _matching(self, model):
        """Give the model's parameters by name, if each is of the shape of its average."""
        parameters = dict(_floating(model))
        if parameters.keys() != self.x_test.keys():
            odd = min(parameters.keys() ^ self.x_test.keys())
            raise UsageError("the model's parameters are not the average's", where=odd, then=ANEW)
        for place, (name, p) in enumerate(parameters.items()):
            why = unusable(p)
            if p.shape != self.x_test[name].shape:
                why = f"shape {tuple(p.shape)} beside {tuple(self.x_test[name].shape)}"
            if why:
                raise MismatchError(why, place=place, column=1).named(UNFIT, name, ANEW)
        return parameters

    def _line_up(self, parameters, memo):
        columns = [[self.x_test[name] for name in parameters], list(parameters.values())]
        memo = self._memos[memo]
        try:
            return known(columns, memo) or line_up(columns, memo)
        except MismatchError as error:
            raise error.named(UNFIT, list(parameters)[error.place], ANEW) from None

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

    def name_of(self, parameter: Tensor) -> str | None:
        """Name a parameter as the averaged model does, or None if it is not one of its own.

        >>> model = nn.Linear(1, 1)
        >>> Average(model).name_of(model.bias)
        'bias'
        """
        return self._names.get(id(parameter))

    def column(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Give the averages of some parameters of the model that the average was made for.

        Raises:
            UsageError: a parameter is none of them.
        """
        try:
            return [self.x_test[self._names[id(p)]] for p in parameters]
        except KeyError:
            odd = next((p for p in parameters if id(p) not in self._names), parameters[0])
            raise UsageError(
                "the optimizer has a parameter that the average does not know",
                where=f"shape {tuple(odd.shape)}",
                then="make the Average of the whole model, after its parameters have their place",
            ) from None

    def line_up_others(self, stepped: Set[int]) -> Lineup | None:
        """Compare the parameters that an optimizer's step leaves out, for `take` to average too;
        None if there are none.

        Args:
            stepped: the ids of the parameters that the step averages itself.

        Raises:
            UsageError: a parameter has another shape than its average.
        """
        others = {name: p for name, p in self._parameters.items() if id(p) not in stepped}
        return self._line_up(others, "others") if others else None

    def take(self, lineup: Lineup) -> None:
        """Average parameters that were lined up, with the decay of the last `advance`."""
        engine.run(engine.Pass(polyak, {"decay": self._now}), lineup)

    @contextmanager
    def swapped_in(
        self, model: nn.Module, batches: Iterable[Any] | None = None
    ) -> Iterator[nn.Module]:
        """Give the model the averaged weights for a while; its own come back exactly, also after an
        error.

        Args:
            model: the averaged model, or one with the same parameters.
            batches: input batches (N, ...) to re-estimate batch-norm statistics with; they too come
                back.

        Raises:
            UsageError: the model has other parameters than the averaged one, or of other shapes;
                it was left as it is.

        >>> model = nn.Linear(1, 1)
        >>> with Average(model).swapped_in(model) as averaged:
        ...     averaged is model
        True
        """
        parameters = self._matching(model)
        own = {name: p.detach().clone() for name, p in parameters.items()}
        try:
            if self.count > self.settings["start"]:
                self._write(parameters)
            with refreshed_batch_norm(model, batches) if batches is not None else nullcontext():
                yield model
        finally:
            now = dict(_floating(model))
            for name in own.keys() & now.keys():
                put_back(now[name], own[name])
        if own.keys() - now.keys():
            raise UsageError(
                "the model lost a parameter while the average was in it",
                where=min(own.keys() - now.keys()),
                kept="the others have their own weights again",
                then="change the model before or after",
            )

    def copy_to(self, model: nn.Module) -> None:
        """Write the averaged weights into a model for good.

        Raises:
            UsageError: the model has other parameters than the averaged one, or of other shapes;
                nothing was written.

        >>> model = nn.Linear(1, 1)
        >>> Average(model).copy_to(model)
        """
        self._write(self._matching(model))

    @torch.no_grad()
    def _write(self, parameters):
        for name, p in parameters.items():
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
            RefusedError: other parameters, other shapes or other settings; nothing was loaded.
        """
        where, why, then = self._unfit(state)
        if why:
            kept = "nothing was loaded"
            raise RefusedError(
                "cannot load this average", where=where, why=why, kept=kept, then=then
            )
        for name, x_test in self.x_test.items():
            x_test.copy_(state["x_test"][name])
        self.count = int(state["count"])

    def _unfit(self, state):
        """Say where and why a state cannot be this average's, and what to do; or nothing."""
        saved, count = state["x_test"], state["count"]
        if saved.keys() != self.x_test.keys():
            return min(saved.keys() ^ self.x_test.keys()), "the model has other parameters", ANEW
        for name, x_test in self.x_test.items():
            shape = getattr(saved[name], "shape", None)
            if not isinstance(saved[name], Tensor) or shape != x_test.shape:
                shape = shape if shape is None else tuple(shape)
                return name, f"shape {shape} beside {tuple(x_test.shape)}", ANEW
        if state["settings"] != self.settings:
            why = f"it was made with {state['settings']}, this one with {self.settings}"
            return "", why, "make it with the same settings"
        if int(count) != count or count < 0:
            return "", f"it counts {count} updates", "take another checkpoint"
        return "", "", ""


def _floating(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, p in model.named_parameters():
        if p.is_floating_point():
            # DistributedDataParallel and torch.compile put their names before the model's
            yield name.replace("_orig_mod.", "").removeprefix("module."), p
