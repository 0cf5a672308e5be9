"""What a person sees while a run goes on and at its end: rich on a terminal, lines in a log."""

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from polyak.errors import counted, shown
from polyak.train.words import lines

if TYPE_CHECKING:
    from polyak.model import Predictions

WIDEST = 1000  # columns that a table may take before it is asked how many it needs
LINE_EVERY = 10.0  # seconds between lines of a log


def follow(records: Iterable[dict], console: Console) -> None:
    """Show records as they come, and at the end how good the model is."""
    steps = _bar if console.is_terminal else _log
    for record in steps(records, console):
        if record["kind"] == "end":
            console.print(_figures(record))
            if record.get("table"):
                wide = candidates(record)
                room = console.options.update(max_width=WIDEST)
                fits = console.measure(wide, options=room).maximum <= console.width
                console.print(wide if fits else candidates(record, narrow=True))
        for line in lines(record):
            say(line, console)


def say(line: str, console: Console) -> None:
    """Print one line; nothing in it is taken for markup or for the terminal's control."""
    console.print(shown(line), markup=False, highlight=False, soft_wrap=True)


def _bar(records: Iterable[dict], console: Console) -> Iterable[dict]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("preparing", total=None)
        for record in records:
            if record["kind"] == "step":
                text = f"epoch {record['epoch'] + 1}  loss {_loss(record, 3)}"
                progress.update(bar, total=1.0, completed=record["progress"], description=text)
            else:
                yield record


def _log(records: Iterable[dict], console: Console) -> Iterable[dict]:
    last = time.monotonic()
    for record in records:
        if record["kind"] != "step":
            yield record
        elif time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            say(
                f"epoch={record['epoch'] + 1} step={record['step']} "
                f"progress={record['progress']:.1%} loss={_loss(record, 4)}",
                console,
            )


def _loss(record: dict, digits: int) -> str:
    """A step's loss is read one step late; the first has none yet."""
    return "..." if math.isnan(record["loss"]) else f"{record['loss']:.{digits}f}"


def _figures(end: dict) -> Table:
    words = {"average": "the averaged weights", "weights": "the last weights"}
    chosen = words.get(end["chosen"], end["chosen"])
    measured = end["evaluation"]
    if measured is None:
        return Table("no images were held out: how good this model is was not measured")
    title = f"{chosen}, measured on {counted(measured['n'], 'image')} of {measured['split']}"
    if measured["split"] == "val":
        title += ", which also chose them: expect a little less"
    table = Table("", "value", "95 % interval", title=title)
    for name, text, form in (
        ("accuracy", "accuracy", "{:.2%}"),
        ("nll", "negative log-likelihood", "{:.4f}"),
        ("ece", "calibration error", "{:.2%}"),
    ):
        value, low, high = (form.format(measured[name][part]) for part in ("value", "low", "high"))
        table.add_row(text, value, f"{low} to {high}")
    return table


def candidates(end: dict, narrow: bool = False) -> Table:
    """Lay out all ways to end a run: figures with 95 % intervals, and what each costs.

    Those that were refused are told below the table, with the reason.

    Args:
        end: the last record of a run.
        narrow: two lines a row, for 80 columns.
    """
    rows = [row for row in end["table"] if "refused" not in row]
    chose = "which also chose: expect a little less" if rows[0]["split"] == "val" else "unseen"
    images = counted(end["evaluation"]["n"], "image")
    title = f"the candidates on {images} of {rows[0]['split']}, {chose}"
    rule = f"chosen: {end['rule']}" if "rule" in end else None
    columns = ("", "views", "accuracy", "NLL", "calibration error", "train min", "passes")
    table = Table(*columns, title=title, caption=rule)
    if narrow:
        figures = (f"{name}\n95 % interval" for name in ("accuracy", "NLL", "calib. error"))
        columns = ("\n  views, train min, passes", *figures)
        frame = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False}
        table = Table(*columns, title=title, caption=rule, padding=(0, 1, 0, 0), **frame)
    for row in rows:
        name = ("* " if row["chosen"] else "  ") + escape(shown(row["name"]))
        cost = row["views"], f"{row['share'] * end['seconds'] / 60:.1f}", str(row["passes"])
        if narrow:
            table.add_row(f"{name}\n  {', '.join(cost)}", *_cells(row, narrow))
        else:
            table.add_row(name, cost[0], *_cells(row, narrow), *cost[1:])
    return table


def _cells(row: dict, narrow: bool) -> list[str]:
    """Write the figures of a candidate, each with its interval."""
    cells, nll = [], "{:.3f}" if narrow else "{:.4f}"
    for name, number in (("accuracy", "{:.2%}"), ("nll", nll), ("ece", "{:.2%}")):
        value, low, high = (number.format(row[name][part]) for part in ("value", "low", "high"))
        two = f"{value}\n{low.removesuffix('%')} to {high}"
        cells.append(two if narrow else f"{value} ({low} to {high})")
    return cells


def predictions(said: "Predictions", top: int) -> Table:
    """Lay out predictions as a table for a terminal, best class first."""
    apart = [] if said.disagreement is None else [f"{value:.1%}" for value in said.disagreement]
    table = Table("picture", *(f"class {i + 1}" for i in range(top)))
    if apart:  # before the classes: a row may have fewer of them than the table
        table = Table("picture", "disagreement", *(f"class {i + 1}" for i in range(top)))
    for row, (path, best) in enumerate(zip(said.paths, said.top(top), strict=True)):
        cells = [f"{escape(shown(name))} {probability:.1%}" for name, probability in best]
        cells = [*apart[row : row + 1], *cells] if cells else ["unreadable"]
        table.add_row(escape(shown(path)), *cells)
    return table
