"""Readers of a run's records for TensorBoard and Weights & Biases; none of them can stop a run."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

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
        facts: what the run begins with.

    Source: https://docs.pytorch.org/docs/stable/tensorboard.html
    """

    def __init__(self, run: Path, facts: dict[str, Any]):
        from torch.utils.tensorboard import SummaryWriter

        # what was logged after the last checkpoint happens again, its own validation included
        again = facts["step"] if facts["resumed"] else None
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
        facts: what the run begins with; becomes its `config`, without places on this disk.

    Source: https://docs.wandb.ai/ref/python/
    """

    def __init__(self, run: Path, facts: dict[str, Any]):
        import wandb  # pyright: ignore[reportMissingImports]

        config = {name: value for name, value in facts.items() if name not in PRIVATE}
        how = {"project": "polyak", "name": run.name, "group": run.name, "dir": str(run)}
        self._run = wandb.init(config=config, **how)

    def log(self, values: dict[str, float], step: int) -> None:
        """Send one row."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """Send what is still held."""
        self._run.finish()


Opens = Callable[[Path, dict[str, Any]], Logger]
LOGGERS: dict[str, Opens] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
}
INSTALL = {"tensorboard": "pip install 'polyak[log]'", "wandb": "pip install wandb"}


def logged(records: Iterator[dict], log: str) -> Iterator[dict]:
    """Pass records on and let a logger read along.

    Its first failure, of whatever kind, becomes one record of kind "note", and ends the logging.

    Args:
        records: of one run.
        log: a name of LOGGERS, or "none".
    """
    logger, going, step = None, log in LOGGERS, 0
    try:
        for record in records:
            step = record.get("step", step)
            try:
                if going and logger is None and record["kind"] == "start":
                    logger = LOGGERS[log](Path(record["run"]), record)
                values = numbers(record)
                if going and logger is not None and values:
                    logger.log(values, step)
                if going and logger is not None and record["kind"] == "end":
                    going = False
                    logger.close()
            except Exception as error:  # another program's trouble is no reason to lose a run
                going = False
                yield {"kind": "note", "line": trouble(log, error)}
            yield record
    finally:
        if going and logger is not None:
            with suppress(Exception):
                logger.close()


def numbers(record: dict) -> dict[str, float]:
    """Pick what a record has to show as curves, by the names of metrics.csv.

    >>> numbers({"kind": "step", "step": 20, "epoch": 0, "progress": 0.5, "loss": 1.5})
    {'loss': 1.5}
    >>> numbers({"kind": "step", "step": 21, "epoch": 0, "progress": 0.5, "loss": 1.5})
    {}
    """
    kind, found = record["kind"], {}
    if kind == "step" and record["step"] % STEP_EVERY == 0:
        found = {"loss": record["loss"]}
    elif kind == "validation":
        found = {name: value for name, value in record.items() if name not in ("kind", "step")}
    elif kind == "end" and record["evaluation"]:
        measured = record["evaluation"]
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
