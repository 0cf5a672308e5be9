"""What a person reads while a run goes on and at its end: rich on a terminal, lines in a log."""

import time
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from polyak.errors import shown

LINE_EVERY = 10.0  # seconds between lines of a log


def follow(records: Iterable[dict], console: Console) -> dict:
    """Show records as they come; return the last one, which tells how the run ended."""
    return (_on_a_terminal if console.is_terminal else _in_a_log)(records, console)


def _on_a_terminal(records: Iterable[dict], console: Console) -> dict:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    record: dict = {}
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("preparing", total=None)
        for record in records:
            if record["kind"] == "step":
                text = f"epoch {record['epoch'] + 1}  loss {record['loss']:.3f}"
                progress.update(bar, total=1.0, completed=record["progress"], description=text)
            else:
                _tell(record, console)
    return record


def _in_a_log(records: Iterable[dict], console: Console) -> dict:
    record, last = {}, time.monotonic()
    for record in records:
        if record["kind"] != "step":
            _tell(record, console)
        elif time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            _print(
                console,
                f"epoch={record['epoch'] + 1} step={record['step']} "
                f"progress={record['progress']:.1%} loss={record['loss']:.4f}",
            )
    return record


def _tell(record: dict, console: Console) -> None:
    if record["kind"] == "start":
        _tell_start(record, console)
    elif record["kind"] == "validation" and "val_accuracy" in record:
        average = record.get("average_accuracy")
        _print(
            console,
            f"{record['progress']:4.0%}  epoch {record['epoch']:.1f}  "
            f"loss {record['train_loss']:.3f}  validation {record['val_accuracy']:.2%}"
            + (f"  averaged {average:.2%}" if average is not None else "")
            + f"  {record['images_per_second']:.0f} images/s",
        )


def _tell_start(record: dict, console: Console) -> None:
    used = record["found"] - record["left_out"]
    parts = ", ".join(f"{record[part]} {part}" for part in ("train", "val", "test") if record[part])
    _print(
        console,
        f"{record['found']} files found = {used} used + {record['left_out']} left out; "
        f"{parts}; {record['classes']} classes",
    )
    for line in record["warnings"]:
        _print(console, f"note: {line}")
    for name, (value, why) in record["decided"].items():
        _print(console, f"  {name.replace('_', '-')} = {value}  ({why})")
    going = f"continuing at step {record['step']}" if record["resumed"] else "training"
    _print(
        console,
        f"{going}: {record['model']} on {record['device']}, {record['precision']}; "
        f"{record['steps']} steps; run {record['run']}",
    )


def summary(end: dict, console: Console) -> None:
    """Print the end of a run: how good, how sure, what was left out, what to type next."""
    if end.get("kind") != "end":
        return
    console.print(_figures(end))
    for label, predicted, count, share in end["confused"][:3]:
        _print(console, f"confused: {label} taken for {predicted}, {count} times ({share:.0%})")
    rest = f"; {end['left_out']} files left out (quarantine.csv)" if end["left_out"] else ""
    _print(
        console,
        f"{end['seconds']:.0f} s, {end['images_per_second']:.0f} images/s in training, "
        f"{end['wait_share']:.1%} of it waiting for data{rest}",
    )
    _print(console, f"model: {end['model']}")
    _print(console, f"next: polyak predict {end['model']} PICTURES")


def _figures(end: dict) -> Table:
    chosen = "the averaged weights" if end["chosen"] == "average" else f"{end['chosen']} weights"
    measured = end["evaluation"]
    if measured is None:
        return Table(title="no pictures were held out: how good this model is, nobody knows")
    title = f"{chosen}, measured on {measured['n']} pictures of {measured['split']}"
    if measured["split"] == "val":
        title += ", which also chose them: expect a little less"
    table = Table("", "value", "95 % interval", title=title)
    for name, text, percent in (
        ("accuracy", "accuracy", True),
        ("nll", "negative log-likelihood", False),
        ("ece", "calibration error", True),
    ):
        figure = measured[name]
        form = "{:.2%}" if percent else "{:.4f}"
        low, high = form.format(figure["low"]), form.format(figure["high"])
        table.add_row(text, form.format(figure["value"]), f"{low} to {high}")
    return table


def predictions(said, top: int) -> Table:
    """Lay out predictions as a table for a terminal, best class first."""
    table = Table("picture", *(f"class {i + 1}" for i in range(top)))
    for path, best in zip(said.paths, said.top(top), strict=True):
        cells = [f"{escape(shown(name))} {probability:.1%}" for name, probability in best]
        table.add_row(escape(shown(path)), *(cells or ["unreadable"]))
    return table


def _print(console: Console, line: str) -> None:
    console.print(shown(line), markup=False, highlight=False, soft_wrap=True)
