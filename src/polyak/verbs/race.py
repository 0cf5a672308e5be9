"""`polyak race`: optimizers side by side, on surfaces or on images."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from polyak.errors import Stopped, UsageError, counted, shown
from polyak.options import Number, Text, Word, option, parse
from polyak.recipe.recipe import ClassesFrom

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from polyak.rundir.events import Event


@dataclass
class Options:
    """Race update rules over the lecture's surfaces, or optimizers on your images.

    Without DATA: a page to play with, made in a second. With DATA: the same starting weights and
    batches for all, each at its own best learning rate, several seeds; which one to take, or that
    no difference was found.

    Examples: polyak race
              polyak race photos --optimizers sgd,nesterov,adam --budget 10m
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")] = ""
    """folder, CSV or 'digits'; none races over surfaces"""
    classes_from: ClassesFrom = "auto"
    """which folder names the class: top, or the leaf that holds the images; auto refuses both"""
    max_pixels: Word = "64M"
    """of an image; larger ones are left out: 120M, 1G"""
    optimizers: Word = "sgd,momentum,nesterov,adagrad,rmsprop,adam"
    """who runs, separated by commas; also adamw, nadam, lion"""
    budget: Text = None
    """wall clock for all: 90s, 10m, 2h; 5m where no --steps are given"""
    steps: Number = None
    """of each run, half of it in the sweep, instead of a budget: the same result every time"""
    sweep: Word = "0.1,1,10"
    """multiples of each one's usual learning rate to try; then two more around the best"""
    seeds: int = 5
    """how often each runs, two at least"""
    seed: int = 0
    """of the split and the sweep; the race takes the next ones"""
    model: Word = "compact"
    """'compact', 'auto' or any timm model name"""
    size: Number = None
    """side of the network's images, pixels"""
    batch_size: Number = None
    """images a step"""
    val: float = 0.1
    """share of train held out when no val exists"""
    device: Word = "auto"
    """auto, cpu, cuda, mps"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """of products"""
    threads: Number = None
    """compute threads; default all cores"""
    out: Annotated[Path, option("FOLDER")] = Path()
    """folder of race.html and race.json"""


def run(arguments: list[str]) -> int:
    """Race, write the page, print the table."""
    began = time.monotonic()
    options = parse(Options, arguments, "polyak race")
    return _pictures(options, began) if options.data else _surfaces(options)


def _surfaces(options: Options) -> int:
    for field in fields(Options):
        if field.name != "out" and getattr(options, field.name) != field.default:
            where = f"--{field.name.replace('_', '-')}"
            raise UsageError("this option needs DATA", where=where, then="polyak race DATA ...")
    from rich.console import Console

    from polyak.race import write_surfaces

    screen = Console()
    for name, rows in write_surfaces(options.out).items():
        screen.print(_surface(name, rows))
    _say_where(options.out)
    return 0


def _surface(name: str, rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    from polyak.race import SURFACES

    surface = SURFACES[name]
    table = Table(title=surface.title, title_justify="left", title_style="bold")
    table.add_column("rule")
    columns = ["rate", *(["steps to leave"] if surface.free else []), "overshoot", "distance"]
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        cells = [f"{row['learning_rate']:g}", f"{row['overshoot']:.2g}", _end(row)]
        if surface.free:
            leave = row["steps_to_leave"]
            cells.insert(1, "never" if leave is None else str(leave))
        table.add_row(row["rule"], *cells)
    return table


def _end(row: dict[str, Any]) -> str:
    left = row["left_picture"]
    return f"{row['distance']:.2g}" if left is None else f"left the image at step {left}"


def _pictures(options: Options, began: float) -> int:
    from rich.console import Console

    from polyak import console
    from polyak.files import check_writable
    from polyak.race import Contest, Design, sheet

    names = ("seed", "model", "size", "batch_size", "val", "device", "precision", "threads")
    names += ("classes_from", "max_pixels")
    contest = Contest(
        options.data,
        tuple(word.strip() for word in options.optimizers.split(",") if word.strip()),
        budget=options.budget or (None if options.steps is not None else "5m"),
        steps=options.steps,
        design=Design(options.seeds, _factors(options.sweep)),
        **{name: getattr(options, name) for name in names},
    )
    check_writable(options.out)
    screen = Console()
    _follow(contest.events(began), screen)
    found = sheet.figures(contest)
    sheet.write(found, options.out)
    if rows := sheet.rows(found):
        screen.print(_table(rows))
    for line in [*sheet.sentences(found), *([f"next: {found['next']}"] if found["next"] else [])]:
        console.say(line, screen)
    _say_where(options.out)
    if contest.signal:
        kept = f"what was done, in {options.out / 'race.html'}"
        raise Stopped("stopped", signal=contest.signal, kept=kept)
    return 0


def _factors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        then = "write --sweep 0.1,1,10"
        raise UsageError("these are no factors", where=f"--sweep {text}", then=then) from error


def _follow(events: Iterable["Event"], screen: "Console") -> None:
    """Show how far it is: a bar on a terminal, lines in a log."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from polyak import console
    from polyak.race.events import RaceStepEvent

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    quiet = not screen.is_terminal
    last = time.monotonic()
    with Progress(*columns, console=screen, transient=True, disable=quiet) as progress:
        bar = progress.add_task("preparing", total=None)
        for event in events:
            if isinstance(event, RaceStepEvent):
                title, share = event.run, event.progress
                progress.update(bar, total=1.0, completed=share, description=title)
                if quiet and time.monotonic() - last >= console.LINE_EVERY:
                    last = time.monotonic()
                    console.say(f"progress={share:.1%} {title}", screen)
            for line in _lines(event):
                console.say(line, screen)


def _lines(event: "Event") -> list[str]:
    from polyak.race.events import RacedEvent, RaceStartEvent

    if isinstance(event, RaceStartEvent):
        plan, used = event.plan, event.found - event.left_out
        parts = ", ".join(f"{n} {name}" for name, n in event.counts.items())
        return [
            f"{counted(event.found, 'file')} found = {used} used + {event.left_out} left out; "
            f"{parts}; {counted(event.classes, 'class')}",
            *(f"note: {line}" for line in event.warnings),
            f"racing {len(plan.optimizers)} optimizers on {event.model}, batches of "
            f"{event.batch_size}: {plan.tries} rates of {plan.sweep_steps} steps each, "
            f"then {len(plan.seeds)} seeds of about {plan.steps}",
        ]
    if isinstance(event, RacedEvent):
        fate = "diverged" if event.diverged else f"{event.accuracy:.2%}"
        return [f"seed {event.seed}: {event.optimizer} {fate}"]
    return []


def _table(rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table("optimizer")
    for column in ("best rate", "accuracy", "95 % interval", "behind the best, points"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(row[k] for k in ("optimizer", "rate", "accuracy", "interval", "behind")))
    return table


def _say_where(out: Path) -> None:
    print(f"page: {shown(out / 'race.html')}\nfigures: {shown(out / 'race.json')}")
