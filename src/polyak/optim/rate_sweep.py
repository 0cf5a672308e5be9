"""The learning-rate range test: one short sweep from tiny to huge rates finds where training works.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
"""

import copy
import math
import random
from collections.abc import Callable
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
    low, high = rates
    seen: list[tuple[float, float, float]] = []
    mean = 0.0
    with restored(model, optimizer):
        for step in range(steps):
            rate = low * (high / low) ** (step / max(steps - 1, 1))
            for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
                group["lr"] = rate * ratio
            loss = float(torch.as_tensor(closure()).detach())
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            smooth = mean / (1 - SMOOTHING ** (step + 1))
            if not math.isfinite(loss) or smooth > BLOWN_UP * min(
                [s for *_, s in seen], default=smooth
            ):
                break
            seen.append((rate, loss, smooth))
            optimizer.step()
    found = _choose(seen)
    if plot is not None:
        found.save(plot)
    return found


def _choose(seen):
    if not seen:
        raise DivergedError("the loss is not finite before the first step", then="check the inputs")
    best = min(range(len(seen)), key=lambda k: seen[k][2])
    if best == 0:
        then = "sweep from a lower rate, or check loss and labels"
        raise DivergedError("the loss never falls in the range test", then=then)
    rates, losses, smooth = (list(column) for column in zip(*seen, strict=True))
    return Range(rates, losses, smooth, rates[best] / MARGIN)


@contextmanager
def restored(model: nn.Module, optimizer: Optimizer):
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
