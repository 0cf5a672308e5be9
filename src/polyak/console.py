"""What a person sees while a run goes on and at its end: rich on a terminal, lines in a log."""

import math
import time
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from polyak.errors import counted, shown
from polyak.estimate import Estimate
from polyak.rundir.events import EndEvent, Event, StepEvent
from polyak.rundir.log_lines import lines
from polyak.rundir.plan_events import CellEvent

if TYPE_CHECKING:
    from polyak.model import Predictions
    from polyak.planning import PlanResult

Result = TypeVar("Result")
WIDEST = 1000  # columns that a table may take before it is asked how many it needs
LINE_EVERY = 10.0  # seconds between lines of a log


def follow(events: Iterable[Event], screen: Console) -> None:
    """Show events as they come, and at the end how good the model is."""
    steps = _bar if screen.is_terminal or screen.is_jupyter else _log
    for event in steps(_estimated(events, screen), screen):
        if isinstance(event, EndEvent):
            screen.print(_figures(event))
            if event.table:
                wide = candidates(event)
                room = screen.options.update(max_width=WIDEST)
                fits = screen.measure(wide, options=room).maximum <= screen.width
                screen.print(wide if fits else candidates(event, narrow=True))
        for line in lines(event):
            say(line, screen)


def _estimated(events: Iterable[Event], screen: Console) -> Iterable[Event]:
    """Pass events on; say once how long they will go on."""
    estimate = Estimate()
    for event in events:
        for line in estimate.lines(event):
            say(line, screen)
        yield event


def say(line: str, screen: Console) -> None:
    """Print one line; nothing in it is taken for markup or for the terminal's control."""
    screen.print(shown(line), markup=False, highlight=False, soft_wrap=True)


def _bar(events: Iterable[Event], screen: Console) -> Iterable[Event]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        bar = progress.add_task("preparing", total=None)
        for event in events:
            if isinstance(event, StepEvent):
                text = f"epoch {event.epoch + 1}  loss {_loss(event, 3)}"
                progress.update(bar, total=1.0, completed=event.progress, description=text)
            else:
                yield event


def _log(events: Iterable[Event], screen: Console) -> Iterable[Event]:
    last = time.monotonic()
    for event in events:
        if not isinstance(event, StepEvent):
            yield event
        elif time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            say(
                f"epoch={event.epoch + 1} step={event.step} "
                f"progress={event.progress:.1%} loss={_loss(event, 4)}",
                screen,
            )


def _loss(event: StepEvent, digits: int) -> str:
    """A step's loss is read one step late; the first has none yet."""
    return "..." if math.isnan(event.loss) else f"{event.loss:.{digits}f}"


def _figures(end: EndEvent) -> Table:
    words = {"average": "the averaged weights", "weights": "the last weights"}
    chosen = words.get(end.chosen, end.chosen)
    measured = end.evaluation
    if measured is None:
        return Table("no images were held out: how good this model is was not measured")
    title = f"{chosen}, measured on {counted(measured['n'], 'image')} of {measured['split']}"
    if measured["split"] == "oof":
        images = counted(measured["n"], "image")
        title = f"models of the folds, measured on {images}, each by one that did not see it"
    if measured["split"] == "val":
        title += ", which also chose them: expect a little less"
    table = Table("", "value", "95 % interval", title=title)
    several = "map" in measured
    for name, text, form in (
        ("map", "mean average precision", "{:.2%}"),
        ("micro_f1", "micro F1", "{:.2%}"),
        ("accuracy", "every label right" if several else "accuracy", "{:.2%}"),
        ("balanced", "balanced accuracy", "{:.2%}"),
        ("f1", "macro F1", "{:.2%}"),
        ("nll", "negative log-likelihood", "{:.4f}"),
        ("ece", "calibration error", "{:.2%}"),
    ):
        if name not in measured:  # classes are even, or each image has one label
            continue
        value, low, high = (form.format(measured[name][part]) for part in ("value", "low", "high"))
        table.add_row(text, value, f"{low} to {high}")
    return table


def candidates(end: EndEvent, narrow: bool = False) -> Table:
    """Lay out all ways to end a run: figures with 95 % intervals, and what each costs.

    Those that were refused are told below the table, with the reason.

    Args:
        end: the last event of a run.
        narrow: two lines a row, for 80 columns.
    """
    table, measured = end.table or [], end.evaluation or {}
    rows = [row for row in table if "refused" not in row]
    chose = "which also chose: expect a little less" if rows[0]["split"] == "val" else "unseen"
    images = counted(measured["n"], "image")
    title = f"the candidates on {images} of {rows[0]['split']}, {chose}"
    rule = f"chosen: {end.rule}" if end.rule else None
    shown_figures = _columns(rows)
    columns = ("", "views", *(text for _, text, _ in shown_figures), "train min", "passes")
    shape = Table(*columns, title=title, caption=rule)
    if narrow:
        figures = (f"{text}\n95 % interval" for _, text, _ in shown_figures)
        columns = ("\n  views, train min, passes", *figures)
        frame = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False}
        shape = Table(*columns, title=title, caption=rule, padding=(0, 1, 0, 0), **frame)
    for row in rows:
        name = ("* " if row["chosen"] else "  ") + escape(shown(row["name"]))
        cost = row["views"], f"{row['share'] * end.seconds / 60:.1f}", str(row["passes"])
        if narrow:
            shape.add_row(f"{name}\n  {', '.join(cost)}", *_cells(row, shown_figures, narrow))
        else:
            shape.add_row(name, cost[0], *_cells(row, shown_figures, narrow), *cost[1:])
    return shape


def _columns(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Name the figures of the candidates' table: (key, title, form); every class counts alike in
    two of them where the classes are uneven.
    """
    accuracy, nll = ("accuracy", "accuracy", "{:.2%}"), ("nll", "NLL", "{:.4f}")
    if all("map" in row for row in rows):
        return [("map", "mAP", "{:.2%}"), ("f1", "macro F1", "{:.2%}"), nll]
    if not all("balanced" in row for row in rows):
        return [accuracy, nll, ("ece", "calib. error", "{:.2%}")]
    return [accuracy, ("balanced", "balanced acc.", "{:.2%}"), ("f1", "macro F1", "{:.2%}"), nll]


def _cells(row: dict[str, Any], columns: list[tuple[str, str, str]], narrow: bool) -> list[str]:
    """Write the figures of a candidate, each with its interval."""
    cells = []
    for name, _, form in columns:
        number = form.replace("4f", "3f") if narrow else form
        value, low, high = (number.format(row[name][part]) for part in ("value", "low", "high"))
        two = f"{value}\n{low.removesuffix('%')} to {high}"
        cells.append(two if narrow else f"{value} ({low} to {high})")
    return cells


def predictions(found: "Predictions", top: int) -> Table:
    """Lay out predictions as a table for a terminal, best class first; of several labels those that
    an image is given, or what it has most probably.
    """
    if found.given is not None:
        return _labels(found)
    apart = [] if found.disagreement is None else [f"{value:.1%}" for value in found.disagreement]
    table = Table("image", *(f"class {i + 1}" for i in range(top)))
    if apart:  # before the classes: a row may have fewer of them than the table
        table = Table("image", "disagreement", *(f"class {i + 1}" for i in range(top)))
    if found.sets is not None:
        table.add_column("may be")
    for row, (path, best) in enumerate(zip(found.paths, found.top(top), strict=True)):
        cells = [f"{escape(shown(name))} {probability:.1%}" for name, probability in best]
        cells = [*apart[row : row + 1], *cells] if cells else ["unreadable"]
        if found.sets is not None:
            cells += [""] * (len(table.columns) - 2 - len(cells))
            cells.append(escape(shown(", ".join(found.set_of(row)))))
        table.add_row(escape(shown(path)), *cells)
    return table


def _labels(found: "Predictions") -> Table:
    table = Table("image", "labels")
    unread = {path for path, _ in found.unreadable}
    for row, (path, odds) in enumerate(zip(found.paths, found.top(), strict=True)):
        given = set(found.labels(row))
        words = [f"{escape(shown(name))} {p:.1%}" for name, p in odds if name in given]
        none = f"none; {escape(shown(odds[0][0]))} {odds[0][1]:.1%} at most" if odds else ""
        cell = "unreadable" if path in unread else ", ".join(words) or none
        table.add_row(escape(shown(path)), cell)
    return table


def followed(events: Generator[Event, None, Result], screen: Console) -> Result:
    """Print the lines of events as they come; return what they came to."""
    estimate = Estimate()
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        for line in (*estimate.lines(event), *lines(event)):
            say(line, screen)


def follow_plan(events: Generator[Event, None, "PlanResult"], screen: Console) -> "PlanResult":
    """Print events as they come; return what the plan came to."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            screen.print(_measured(end.value))
            _conclude(end.value, screen)
            return end.value
        if isinstance(event, CellEvent):
            screen.print(_lecture(event))
        for line in lines(event):
            say(line, screen)


def _lecture(cell: CellEvent) -> Table:
    """Draw the lecture's table; the data's own cell stands in brackets."""
    from polyak.transfer.planner import CELLS  # which needs torch

    def entry(amount: str, kind: str) -> str:
        text = CELLS[amount, kind]
        here = (amount, kind) == (cell.amount, cell.data)
        return f"> {text} <" if here else text

    table = Table("", "similar to the source", "different from it")
    for amount in ("little", "much"):
        table.add_row(f"{amount} data", *(entry(amount, kind) for kind in ("similar", "different")))
    return table


def _measured(result: "PlanResult") -> Table:
    measure = result.probes.train.dataset.kind.measure
    table = Table("strategy", measure, "95 % interval", "NLL", "seconds", "of a run", "images")
    for row in result.rows.values():
        figure = row.accuracy
        table.add_row(
            row.strategy, f"{figure.value:.2%}", f"{figure.low:.2%} to {figure.high:.2%}",
            f"{row.nll.value:.3f}", f"{row.seconds:.0f}", f"{row.share:.1%}", str(row.n),
        )  # fmt: skip
    return table


def _conclude(result: "PlanResult", screen: Console) -> None:
    lecture = result.cell.strategy
    say(f"choice: {result.chosen} ({result.why}); the lecture: {lecture}", screen)
    if result.accuracy is not None:
        low, high = result.accuracy["low"], result.accuracy["high"]
        took = f" in about {result.seconds / 60:.1f} minutes" if result.seconds else ""
        say(f"expected: {low:.1%} to {high:.1%}{took}", screen)
    for note in result.notes:
        say(f"note: {note}", screen)
    say(f"next: {result.command}", screen)
