"""polyak from Python: train, stream, plan, evaluate; the same work as the command line's."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from polyak.recipe.choices import Choices
from polyak.recipe.recipe import Recipe, make
from polyak.rundir.events import EndEvent, Event

if TYPE_CHECKING:
    from polyak.metrics import Evaluation
    from polyak.model import Classifier
    from polyak.planning import PlanResult


@dataclass(frozen=True)
class Run:
    """Hold a finished run.

    Args:
        path: its directory.
        end: its last event.

    >>> end = EndEvent("average", None, [], 1.0, 0, "runs/a/model.safetensors", 9.0, 0, 0, {})
    >>> Run(Path("runs/a"), end).report.name, Run(Path("runs/a"), end).figures
    ('report.html', None)
    """

    path: Path
    end: EndEvent

    def model(self) -> "Classifier":
        """Load the trained classifier.

        Raises:
            RefusedError: its file is damaged.
        """
        from polyak.model import load

        return load(self.path)

    @property
    def figures(self) -> "Evaluation | None":
        """Accuracy, NLL and calibration error with intervals; None where nothing was held out.

        They are of the test part where there is one (`run.split`), else of the validation part,
        which also chose among weights.
        """
        from polyak.metrics import Evaluation

        return None if self.end.evaluation is None else Evaluation.from_json(self.end.evaluation)

    @property
    def split(self) -> str:
        """The part of the data that `figures` are of: test or val; nothing without figures."""
        return str((self.end.evaluation or {}).get("split", ""))

    @property
    def report(self) -> Path:
        """The page of the run, for a browser."""
        return self.path / "report.html"


def recipe_of(data: str | Path | Recipe, choices: dict[str, Any]) -> Recipe:
    """Build the recipe that data and choices make; a recipe goes as it is.

    Raises:
        UsageError: an unknown or impossible choice.

    >>> recipe_of("digits", {"epochs": 2}).epochs
    2.0
    """
    choices = {k: str(v) if isinstance(v, Path) else v for k, v in choices.items()}
    if isinstance(data, Recipe):
        return make(**(data.model_dump() | choices)) if choices else data
    return make(data=str(data), **choices)


def train(
    data: str | Path | Recipe, *, resume: bool = False, quiet: bool = False,
    **choices: Unpack[Choices],
) -> Run:  # fmt: skip
    """Train a classifier, show how it goes, and return when it is done.

    Args:
        data: a folder, a CSV or "digits"; or a `Recipe`.
        resume: continue the run that these choices began.
        quiet: show nothing.
        choices: of the recipe, by the names of the command line's options with underscores.

    Raises:
        PolyakError: what the command line would tell in one line, as the same object.

    >>> import tempfile
    >>> run = train("digits", epochs=1, widths=(8, 8), out=tempfile.mkdtemp(), quiet=True)
    >>> run.figures.n, run.split, run.report.name
    (359, 'test', 'report.html')
    """
    from rich.console import Console

    from polyak import console

    # under torchrun every process runs this, and one of them speaks
    screen = Console(quiet=quiet or os.environ.get("RANK", "0") != "0")
    last: list[Event] = []

    def watched() -> Iterator[Event]:
        for event in stream(data, resume=resume, **choices):
            last[:] = [event]
            yield event

    console.follow(watched(), screen)
    end = last[0]
    if not isinstance(end, EndEvent):  # a process that does not lead has nothing to tell
        end = EndEvent("", None, [], 1.0, left_out=0, model="", seconds=0.0)
    return Run(Path(end.model).parent, end)


def stream(
    data: str | Path | Recipe, *, resume: bool = False, **choices: Unpack[Choices]
) -> Iterator[Event]:
    """Train a classifier and yield every event of it, for a loop of your own.

    Args:
        data: a folder, a CSV or "digits"; or a `Recipe`.
        resume: continue the run that these choices began.
        choices: of the recipe, by the names of the command line's options with underscores.

    Raises:
        PolyakError: what the command line would tell in one line, as the same object.

    >>> import tempfile
    >>> events = stream("digits", epochs=1, widths=(8, 8), out=tempfile.mkdtemp())
    >>> [event.kind for event in events if event.kept]
    ['start', 'validation', 'end']
    """
    from polyak.jobs import stream as events

    return events(recipe_of(data, dict(choices)), resume=resume, began=time.monotonic())


def plan(
    data: str | Path | Recipe, *, quiet: bool = False, **choices: Unpack[Choices]
) -> "PlanResult":
    """Measure which strategy of transfer pays on some data, within a budget.

    Args:
        data: a folder, a CSV or "digits"; or a `Recipe`.
        quiet: show nothing.
        choices: of the recipe: `weights`, `model`; `budget` is the plan's own, 5 minutes without.

    Raises:
        PolyakError: what the command line would tell in one line, as the same object.

    >>> plan("digits", weights="none")
    Traceback (most recent call last):
    ...
    polyak.errors.UsageError: there is nothing to plan. Next: name weights with --weights
    """
    from rich.console import Console

    from polyak import console
    from polyak.jobs.plan import plan as events

    return console.follow_plan(events(recipe_of(data, dict(choices))), Console(quiet=quiet))


def evaluate(
    model: "str | Path | Classifier", data: str | Path, split: str | None = None, **options: Any
) -> "Evaluation":
    """Measure a model on images with labels.

    Args:
        model: a run directory, a model file, or a loaded classifier.
        data: a folder, a CSV or "digits".
        split: `train`, `val` or `test`; by default what the model was not trained on.
        options: as for `Classifier.evaluate`.

    Raises:
        DataError: a class that the model does not know, or nothing to measure on.
        RefusedError: this is no model.

    >>> import tempfile
    >>> run = train("digits", epochs=1, widths=(8, 8), out=tempfile.mkdtemp(), quiet=True)
    >>> evaluate(run.path, "digits", "test").n
    359
    """
    from polyak.model import load

    loaded = load(model) if isinstance(model, str | Path) else model
    return loaded.evaluate(str(data), split, **options)
