"""What a plan came to: figures, the choice, and the command that carries it out."""

import shlex
from dataclasses import dataclass, field
from typing import Any

from polyak.planning.backbones import Joined, Probed
from polyak.planning.probes import ProbeResults
from polyak.recipe.recipe import Recipe
from polyak.rundir.plan_events import CellEvent, PlanEvent
from polyak.transfer import planner
from polyak.transfer.ranking import Row


@dataclass(frozen=True)
class PlanResult:
    """Hold what a plan measured, what it chose, and why.

    Args:
        chosen: the strategy.
        why: in one line.
        probes: of the training images, fitted on the way.
        rows: what each strategy reached, last measurement.
        cell: the place of the data in the lecture's table.
        counts: class -> images to train on.
        stages: what a probe on each stage alone reached.
        curve: accuracy over images a class.
        turns: every measurement, in its order.
        accuracy: that is expected: value, low, high; None where nothing was measured.
        seconds: that a whole run will take; None where not measured.
        notes: one line each.
        command: that does what was chosen.
        backbones: all that were probed.
        joined: those whose probes predict together.

    >>> cell = planner.Cell("little", "similar", "12 images a class")
    >>> probes: Any = None
    >>> PlanResult("linear", "the probe of least NLL", probes, {}, cell).event().lecture
    'linear'
    """

    chosen: str
    why: str
    probes: ProbeResults
    rows: dict[str, Row]
    cell: planner.Cell
    counts: dict[str, int] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    turns: list[Row] = field(default_factory=list)
    accuracy: dict[str, float] | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    command: str = ""
    backbones: tuple[Probed, ...] = ()
    joined: Joined | None = None

    def event(self) -> PlanEvent:
        """Tell of the choice."""
        return PlanEvent(
            self.chosen, self.why, self.accuracy, self.seconds, self.cell.strategy,
            list(self.notes), [row.as_json() for row in self.rows.values()], self.command,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Give what plan.json holds."""
        chosen = {name: value for name, value in self.event().as_json().items() if name != "kind"}
        return {
            "measure": self.probes.train.dataset.kind.measure,
            "counts": self.counts,
            "stages": self.stages,
            "cell": {key: v for key, v in cell_event(self.cell).as_json().items() if key != "kind"},
            "curve": self.curve,
            "trials": [row.as_json() for row in self.turns],
            "backbones": [vars(one.event()) for one in self.backbones],
            "joined": None if self.joined is None else self.joined.as_json(),
            **chosen,
        }


def cell_event(cell: planner.Cell) -> CellEvent:
    """Tell of the place of some data in the lecture's table."""
    return CellEvent(cell.amount, cell.kind, cell.why, cell.strategy)


def command(recipe: Recipe, chosen: str) -> str:
    """Write the exact command that does what was chosen.

    >>> from polyak.recipe import make
    >>> command(make(data="my images", weights="w.safetensors", budget="1m"), "few")
    "polyak train 'my images' --weights w.safetensors --transfer few"
    """
    words = ["polyak", "train", recipe.data]
    for name, value in recipe.model_dump(mode="json", exclude_defaults=True).items():
        if name not in ("data", "budget", "transfer"):
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join([*words, "--transfer", chosen])
