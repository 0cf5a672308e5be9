"""What `polyak plan` measured: read with suspicion, and drawn as a page or as part of a run's."""

import json
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup
from pydantic import BaseModel, ValidationError

from polyak.errors import RefusedError
from polyak.files import read_text, write_atomic
from polyak.report import charts
from polyak.report.render import render
from polyak.report.translations import speaker


class Figure(BaseModel):
    """A figure with its interval."""

    value: float
    low: float
    high: float


class Cell(BaseModel):
    """A place in the lecture's table of two by two."""

    amount: Literal["little", "much"]
    data: Literal["similar", "different"]
    why: str
    strategy: str


class Stage(BaseModel):
    """What a linear classifier on one stage alone reached, in cross-validation."""

    stage: str
    accuracy: float
    nll: float


class Point(BaseModel):
    """What a linear classifier reached with so many images of each class."""

    each: int
    accuracy: float
    spread: float


class Tried(BaseModel):
    """What a strategy reached on held-out images."""

    strategy: str
    accuracy: Figure
    nll: Figure
    seconds: float
    share: float = 1.0  # of a whole run
    n: int


class Backbone(BaseModel):
    """What the probe of one backbone reached, in cross-validation."""

    model: str
    size: int
    strategy: str
    accuracy: float
    nll: float
    milliseconds: float  # of an image


class Joint(BaseModel):
    """What probes of several backbones reach together."""

    members: list[Backbone]
    accuracy: float | None
    nll: float


class Plan(BaseModel):
    """Hold a plan.json; what else stands there is left alone."""

    measure: Literal["accuracy", "balanced accuracy", "mAP"] = "accuracy"
    cell: Cell | None = None
    stages: list[Stage] = []
    curve: list[Point] = []
    rows: list[Tried] = []
    backbones: list[Backbone] = []
    joined: Joint | None = None
    chosen: str
    why: str
    lecture: str
    notes: list[str] = []
    command: str


def read_plan(file: Path) -> Plan:
    """Read a plan.json.

    Raises:
        RefusedError: no such file, or it is no plan.
    """
    try:
        return Plan.model_validate(json.loads(read_text(file)))
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or str(error)
    raise RefusedError("this is no plan", where=str(file), why=why[:200])


def draw_plan(file: str | Path, language: str = "en") -> Path:
    """Draw a plan.json as a page beside it.

    Args:
        file: what `polyak plan` wrote.
        language: `en` or `ko`, of the fixed texts.

    Returns:
        The page: one file that asks nothing of any network.

    Raises:
        RefusedError: this is no plan.
        UsageError: no such language.
        DiskError: the page cannot be written.

    >>> draw_plan("nowhere.json")
    Traceback (most recent call last):
    ...
    polyak.errors.RefusedError: this is no plan: nowhere.json: No such file or directory
    """
    plan, page = read_plan(Path(file)), Path(f"{str(file).removesuffix('.json')}.html")
    write_atomic(page, render("plan.html", language, **content(plan, language)))
    return page


def content(plan: Plan | None, language: str) -> dict[str, Any]:
    """Collect what the template of a plan shows."""
    drawn = ""
    if plan is not None and (plan.stages or plan.curve):
        drawn = Markup(charts.probes(plan.stages, plan.curve, speaker(language)))
    return {"plan": plan, "probes": drawn}
