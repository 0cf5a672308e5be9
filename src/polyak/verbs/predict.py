"""`polyak predict`: the classes of images."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from polyak.errors import shown
from polyak.options import File, Real, Text, Word, option, parse, pixels

if TYPE_CHECKING:
    import numpy as np

    from polyak.model import Predictions


@dataclass
class Options:
    """Name the class of images; files that cannot be read are reported, the rest is predicted.

    Example: polyak predict runs/digits photos/ --format csv --out said.csv
    """

    model: Annotated[str, tyro.conf.Positional, option("MODEL")]
    """run directory or model file"""
    paths: Annotated[tuple[str, ...], tyro.conf.Positional, option("PATH...")]
    """images and folders of images; links to folders are followed"""
    format: Literal["table", "csv", "json"] = "table"
    """of what is printed"""
    out: File = None
    """write CSV or JSON to this file instead"""
    sets: Real = None
    """also the classes that an image may have: 0.95 holds the true one for 95 % of such images"""
    prior: File = None
    """a CSV of class,share: of the images to come, where they differ from the training images"""
    top: int = 1
    """classes an image, best first"""
    max_pixels: Text = None
    """of an image; larger ones are left out: 120M, 1G; default as trained"""
    views: Text = None
    """test-time views: one, flip, flip+shift, ten, scales; default as trained"""
    kind: Text = None
    """which weights of the file: average, weights, soup, snapshot, members; default as chosen"""
    device: Word = "cpu"
    """cpu, cuda or mps"""


def run(arguments: list[str]) -> int:
    """Print the classes of images."""
    options = parse(Options, arguments, "polyak predict")
    from rich.console import Console

    from polyak import console
    from polyak.files import write_atomic
    from polyak.model import load

    chosen = {"views": options.views} if options.views else {}
    model = load(options.model, device=options.device, kind=options.kind)
    model.pixel_cap = pixels(options.max_pixels, options.model)
    check_sets(options.sets, options.kind, options.views or options.prior)
    if options.prior is not None:
        model = model.with_prior(read_shares(options.prior))
    found = model.predict(list(options.paths), options.sets, device=options.device, **chosen)
    for note in found.notes:
        print(f"polyak: note: {shown(note)}", file=sys.stderr)
    for path, reason in found.unreadable:
        print(f"polyak: not predicted: {shown(path)}: {reason}", file=sys.stderr)
    form = options.format if options.format != "table" or options.out is None else "csv"
    if form == "table":
        Console().print(console.predictions(found, options.top))
    else:
        text = as_json(found, options.top) if form == "json" else as_csv(found, options.top)
        write_atomic(options.out, text) if options.out else print(text, end="")
    return 0


def read_shares(file: Path) -> dict[str, float]:
    r"""Read the share of each class from a CSV with the columns class and share.

    Raises:
        DataError: no such table, or a row that is none.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "shares.csv"
    >>> _ = table.write_text("class,share\nant,0.9\nbee,0.1\n")
    >>> read_shares(table)
    {'ant': 0.9, 'bee': 0.1}
    """
    import csv

    from polyak.errors import DataError

    found: dict[str, float] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened, strict=True))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError("cannot read the shares", where=str(file), why=why) from error
    for number, row in enumerate(rows, 2):
        try:
            name, share = row["class"], float(row["share"] or "")
        except (KeyError, TypeError, ValueError) as error:
            where, then = f"{file}, row {number}", "begin the file with the line class,share"
            raise DataError("this is no share of a class", where=where, then=then) from error
        if name in found:
            raise DataError("a class stands twice", where=f"{file}, row {number}")
        found[name] = share
    return found


def check_sets(level: float | None, kind: str | None, views: object) -> None:
    """Refuse sets of other answers than those that set their threshold.

    Raises:
        UsageError: `--kind` or `--views` beside `--sets`.
    """
    if level is not None and (kind or views):
        from polyak.errors import UsageError

        where = "--sets with " + ("--kind" if kind else "--views or --prior")
        why = "their threshold is of the weights and views that the model predicts with"
        raise UsageError("no prediction sets", where=where, why=why)


def as_csv(found: "Predictions", top: int) -> str:
    """Write predictions as CSV: path, classes and probabilities best first; spreadsheet-safe.

    Where an image may have several labels: path, those that it is given, each one's probability. Of
    several members, their disagreement stands before the error.
    """
    from polyak.data.table import table_text

    names = [f"{part}{i + 1}" for i in range(top) for part in ("class", "probability")]
    errors = dict(found.unreadable)
    if found.given is not None:
        rows = [
            [path, ";".join(found.labels(i)), *_odds(odds), errors.get(path, "")]
            for i, (path, odds) in enumerate(zip(found.paths, found.probabilities, strict=True))
        ]
        return table_text(["path", "labels", *found.classes, "error"], rows)
    rows = []
    apart = [""] * len(found.paths)
    if found.disagreement is not None:
        apart = [f"{value:.4f}" if value == value else "" for value in found.disagreement]
    for path, best, far in zip(found.paths, found.top(top), apart, strict=True):
        cells = [word for name, p in best for word in (name, f"{p:.6f}")]
        cells += [""] * (len(names) - len(cells))
        cells += [] if found.disagreement is None else [far]
        cells += [] if found.sets is None else [";".join(found.set_of(len(rows)))]
        rows.append([path, *cells, errors.get(path, "")])
    names += [] if found.disagreement is None else ["disagreement"]
    names += [] if found.sets is None else ["set"]
    return table_text(["path", *names, "error"], rows)


def _odds(row: "np.ndarray") -> list[str]:
    return [f"{p:.6f}" if p == p else "" for p in row.tolist()]


def as_json(found: "Predictions", top: int) -> str:
    """Write predictions as JSON: [{"path", "classes": [{"class", "probability"}], "error"}].

    Of several members also "disagreement", 0 to 1, None where the file could not be read; where an
    image may have several labels also "labels", those that it is given.
    """
    errors = dict(found.unreadable)
    rows = [
        {
            "path": path,
            "classes": [{"class": name, "probability": round(p, 6)} for name, p in best],
            "error": errors.get(path),
        }
        for path, best in zip(found.paths, found.top(top), strict=True)
    ]
    if found.disagreement is not None:
        for row, value in zip(rows, found.disagreement.tolist(), strict=True):
            row["disagreement"] = round(value, 4) if value == value else None
    if found.given is not None:
        for number, row in enumerate(rows):
            row["labels"] = found.labels(number)
    if found.sets is not None:
        for number, row in enumerate(rows):
            row["set"] = found.set_of(number)
    return json.dumps(rows, indent=1) + "\n"
