"""Readers of a run's events for TensorBoard and Weights & Biases; none of them can stop a run."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

from polyak.rundir.events import EndEvent, Event, NoteEvent, StartEvent, StepEvent, ValidationEvent

STEP_EVERY = 10  # of the steps one in ten is logged; validations all are
FIGURES = ("accuracy", "nll", "ece")
PRIVATE = ("kind", "run", "warnings")  # name files of this disk


class Logger(Protocol):
    """Take the numbers of one run; made with its directory and the facts it begins with."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Take numbers by name, at a step."""

    def close(self) -> None:
        """Write down what is still held."""


class TensorBoard:
    """Write the numbers as TensorBoard's events into the run's own `tensorboard/`.

    Args:
        run: the run directory.
        start: what the run begins with.

    Source: https://docs.pytorch.org/docs/stable/tensorboard.html
    """

    def __init__(self, run: Path, start: StartEvent):
        from torch.utils.tensorboard import SummaryWriter

        # what was logged after the last checkpoint happens again, its own validation included
        again = start.step if start.resumed else None
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=again)

    def log(self, values: dict[str, float], step: int) -> None:
        """Add a point to the curve of every name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write down what is still held."""
        self._writer.close()


class Wandb:
    """Send the numbers to Weights & Biases, as whom and whither its own settings say.

    Args:
        run: the run directory; its name is the run's name there, too.
        start: what the run begins with; becomes its `config`, without places on this disk.

    Source: https://docs.wandb.ai/ref/python/
    """

    def __init__(self, run: Path, start: StartEvent):
        import wandb  # pyright: ignore[reportMissingImports]

        config = {name: v for name, v in start.as_json().items() if name not in PRIVATE}
        options = {"project": "polyak", "name": run.name, "group": run.name, "dir": str(run)}
        self._run = wandb.init(config=config, **options)

    def log(self, values: dict[str, float], step: int) -> None:
        """Send one row."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """Send what is still held."""
        self._run.finish()


Opens = Callable[[Path, StartEvent], Logger]
LOGGERS: dict[str, Opens] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
}
INSTALL = {"tensorboard": "pip install 'polyak[log]'", "wandb": "pip install wandb"}


def logged(events: Iterator[Event], log: str) -> Iterator[Event]:
    """Pass events on and let a logger read along.

    Its first failure, of whatever kind, becomes a `NoteEvent`, and ends the logging.

    Args:
        events: of one run.
        log: a name of LOGGERS, or "none".
    """
    logger, going, step = None, log in LOGGERS, 0
    try:
        for event in events:
            step = getattr(event, "step", step)
            try:
                if going and logger is None and isinstance(event, StartEvent):
                    logger = LOGGERS[log](Path(event.run), event)
                values = numbers(event)
                if going and logger is not None and values:
                    logger.log(values, step)
                if going and logger is not None and isinstance(event, EndEvent):
                    going = False
                    logger.close()
            except Exception as error:  # another program's trouble is no reason to lose a run
                going = False
                yield NoteEvent(trouble(log, error))
            yield event
    finally:
        if going and logger is not None:
            with suppress(Exception):
                logger.close()


def numbers(event: Event) -> dict[str, float]:
    """Pick what an event has to show as curves, by the names of metrics.csv.

    >>> numbers(StepEvent(step=20, epoch=0, progress=0.5, loss=1.5))
    {'loss': 1.5}
    >>> numbers(StepEvent(step=21, epoch=0, progress=0.5, loss=1.5))
    {}
    """
    found: dict[str, Any] = {}
    if isinstance(event, StepEvent) and event.step % STEP_EVERY == 0:
        found = {"loss": event.loss}
    elif isinstance(event, ValidationEvent):
        found = {n: v for n, v in event.as_json().items() if n not in ("kind", "step", "member")}
    elif isinstance(event, EndEvent) and event.evaluation:
        measured = event.evaluation
        found = {f"{measured['split']}/{name}": measured[name]["value"] for name in FIGURES}
    return {name: float(value) for name, value in found.items() if isfinite(value)}


def trouble(log: str, error: Exception) -> str:
    """Say in one line that a logger failed, and what to do about it.

    >>> trouble("wandb", ImportError("No module named 'wandb'"))
    "nothing is logged to wandb: No module named 'wandb'; pip install wandb"
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    then = f"; {INSTALL[log]}" if isinstance(error, ImportError) else "; training goes on"
    return f"nothing is logged to {log}: {line}{then}"
