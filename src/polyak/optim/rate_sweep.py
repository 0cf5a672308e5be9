"""The learning-rate range test: one short sweep from tiny to huge rates finds where training works.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
"""

import copy
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from polyak.errors import DivergedError
from polyak.files import write_atomic
from polyak.optim.restore import put_back

SMOOTHING = 0.9  # share of the old mean: about ten steps, a tenth of the default sweep
MARGIN = 4.0  # below the rate of the lowest loss; measured, see docs/methods/optimizers.md
BLOWN_UP = 4.0  # times the best loss; from there on the sweep tells nothing more


@dataclass(frozen=True)
class Range:
    """What a sweep saw.

    Args:
        rates: learning rates, rising.
        losses: the loss at each.
        smooth: running means of the losses.
        suggestion: the rate to train with.

    >>> Range([1e-3, 1e-2], [2.0, 1.0], [2.0, 1.5], 1e-3).suggestion
    0.001
    """

    rates: list[float] = field(repr=False)
    losses: list[float] = field(repr=False)
    smooth: list[float] = field(repr=False)
    suggestion: float = 0.0

    def save(self, path: Path) -> None:
        """Draw losses over rates, with the suggestion marked, into an SVG, PNG or PDF file.

        Raises:
            DiskError: the file cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="0.75", label="loss of a batch")
        axes.plot(self.rates, self.smooth, color="C0", label="running mean")
        axes.axvline(self.suggestion, color="C3", label=f"suggested: {self.suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.legend()
        kind = Path(path).suffix[1:]
        write_atomic(Path(path), lambda temporary: figure.savefig(temporary, format=kind))


class RateSweep:
    """Sweep a learning rate through equal ratios, and say where the loss was lowest.

    Args:
        low: the first rate.
        high: the last one.
        steps: how many.

    >>> sweep = RateSweep(0.01, 1.0, 3)
    >>> [round(sweep.at(share), 3) for share in (0.0, 0.5, 1.0)]
    [0.01, 0.1, 1.0]
    >>> [sweep.note(rate, loss) for rate, loss in ((0.01, 2.0), (0.1, 1.0), (1.0, 99.0))]
    [True, True, False]
    >>> sweep.result().suggestion
    0.025
    """

    def __init__(self, low: float, high: float, steps: int):
        self.low: float = low
        self.high: float = high
        self.steps: int = steps
        self._seen: list[tuple[float, float, float]] = []
        self._mean = 0.0

    def at(self, progress: float) -> float:
        """Give the rate at a share of the sweep, 0 to 1."""
        return self.low * (self.high / self.low) ** progress

    def note(self, rate: float, loss: float) -> bool:
        """Note the loss at a rate; tell whether a higher one can still say something."""
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
        smooth = self._mean / (1 - SMOOTHING ** (len(self._seen) + 1))
        lowest = min((one for *_, one in self._seen), default=smooth)
        if not math.isfinite(loss) or smooth > BLOWN_UP * lowest:
            return False
        self._seen.append((rate, loss, smooth))
        return True

    def result(self) -> Range:
        """Give what was seen, and the rate to train with.

        Raises:
            DivergedError: the loss is not finite from the start, or never falls.
        """
        if not self._seen:
            why = "the loss is not finite before the first step"
            raise DivergedError(why, then="check the inputs")
        best = min(range(len(self._seen)), key=lambda k: self._seen[k][2])
        if best == 0:
            then = "sweep from a lower rate, or check loss and labels"
            raise DivergedError("the loss never falls in the range test", then=then)
        rates, losses, smooth = (list(column) for column in zip(*self._seen, strict=True))
        return Range(rates, losses, smooth, rates[best] / MARGIN)


def range_test(
    model: nn.Module,
    optimizer: Optimizer,
    closure: Callable[[], object],
    *,
    rates: tuple[float, float] = (1e-6, 10.0),
    steps: int = 100,
    plot: Path | None = None,
) -> Range:
    """Sweep the learning rate up until the loss blows up, and suggest one; nothing else changes.

    The suggestion is a quarter of the rate at which the running mean of the loss is lowest: the
    sweep reaches its minimum where steps begin to overshoot. Weights, buffers, modes, the
    optimizer's state and the random numbers of torch, NumPy and Python come back exactly.

    Args:
        model: the model that the optimizer trains.
        optimizer: any torch optimizer; groups keep the ratios of their rates.
        closure: clears gradients, computes the loss of the next batch, backpropagates, returns it.
        rates: (lowest, highest) to sweep through, at equal ratios.
        steps: of the sweep.
        plot: where to draw it; None draws nothing.

    Raises:
        DivergedError: the loss is not finite from the start, or never falls.

    >>> x = nn.Linear(1, 1)
    >>> def closure():
    ...     x.zero_grad(); loss = (x.weight**2).sum() + 1; loss.backward(); return loss
    >>> found = range_test(x, torch.optim.SGD(x.parameters(), lr=0.1), closure, rates=(1e-3, 10))
    >>> found.rates[0] < found.suggestion < found.rates[-1]
    True
    """
    ratios = [float(group["lr"]) for group in optimizer.param_groups]
    ratios = [ratio / max(max(ratios), 1e-30) if max(ratios) else 1.0 for ratio in ratios]
    sweep = RateSweep(*rates, steps)
    with restored(model, optimizer):
        for step in range(steps):
            rate = sweep.at(step / max(steps - 1, 1))
            for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
                group["lr"] = rate * ratio
            if not sweep.note(rate, float(torch.as_tensor(closure()).detach())):
                break
            optimizer.step()
    found = sweep.result()
    if plot is not None:
        found.save(plot)
    return found


@contextmanager
def restored(model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
    """Put everything that training changes back exactly, whatever happens meanwhile.

    >>> layer = nn.Linear(1, 1)
    >>> before = layer.weight.item()
    >>> with restored(layer, torch.optim.SGD(layer.parameters(), lr=0.1)):
    ...     _ = nn.init.zeros_(layer.weight)
    >>> layer.weight.item() == before
    True
    """
    weights = {name: value.detach().clone() for name, value in _tensors(model)}
    gradients = {name: p.grad for name, p in model.named_parameters()}
    modes = [(module, module.training) for module in model.modules()]
    state = copy.deepcopy(optimizer.state_dict())
    numbers = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        torch.set_rng_state(numbers[0])
        np.random.set_state(numbers[1])  # noqa: NPY002
        random.setstate(numbers[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)
        for module, training in modes:
            module.training = training
        for name, value in _tensors(model):
            if name in weights:
                put_back(value, weights[name])
        for name, p in model.named_parameters():
            p.grad = gradients.get(name)
        optimizer.load_state_dict(state)


def _tensors(model):
    yield from model.named_parameters()
    yield from model.named_buffers()
