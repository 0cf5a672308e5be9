"""Images that a table leaves out, as `polyak clean` writes it and people edit it."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from polyak.data.dataset import Dataset
from polyak.data.table import FORMULA
from polyak.errors import DataError, counted, shown

YES, NO = "yes", "no"
_SPELT = 3  # paths in a line


def excluded(data: Dataset, table: str | None) -> Dataset:
    """Set aside the images that a table leaves out, and say what it names in vain.

    Args:
        data: a scanned data set.
        table: a CSV with a column `path`; None leaves nothing out.

    Raises:
        DataError: no such table, or a class loses all of its images to train on.
    """
    if table is None:
        return data
    names = read_excluded(Path(table))
    found = {path: f"excluded by {Path(table).name}" for path in data.paths if path in names}
    left = data.set_aside(found)
    counts = left.take(np.isin(left.splits, ["train", ""])).counts()
    if len(gone := np.flatnonzero(counts == 0)):
        where = ", ".join(shown(data.classes[i]) for i in gone[:_SPELT])
        why = "no image to train on is left"
        raise DataError("a class is excluded", where=where, why=why, then=f"correct {table}")
    lines = [f"{counted(len(found), 'image', ',')} excluded by {shown(Path(table).name)}"]
    if unknown := sorted(names - found.keys()):
        some = ", ".join(shown(name) for name in unknown[:_SPELT]) + ", ..." * (
            len(unknown) > _SPELT
        )
        lines.append(f"{counted(len(unknown), 'path', ',')} of it name no image here: {some}")
    return replace(left, warnings=[*left.warnings, *lines])


def read_excluded(file: Path) -> set[str]:
    r"""Read which images a table leaves out: those whose `exclude` is yes, or all that it names
    where it has no such column.

    Raises:
        DataError: no such table, none with a column `path`, or a cell that is neither yes nor no.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "issues.csv"
    >>> _ = table.write_text("path,issue,exclude\na.jpg,label,yes\nb.jpg,odd,no\n")
    >>> sorted(read_excluded(table))
    ['a.jpg']
    """
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            rows = list(csv.DictReader(opened, strict=True))
    except (OSError, csv.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError("cannot read what to exclude", where=str(file), why=why) from error
    found: set[str] = set()
    for number, row in enumerate(rows, 2):
        if not row.get("path"):
            then = "give the issues.csv of polyak clean, or a CSV with a column path"
            raise DataError("no path to exclude", where=f"{file}, row {number}", then=then)
        answer = (row.get("exclude", YES) or "").strip().lower()
        if answer not in (YES, NO):
            where = f"{file}, row {number}"
            raise DataError("exclude is yes or no", where=where, why=f"it is {shown(answer)[:40]}")
        if answer == YES:
            found.add(_bare(row["path"]))
    return found


def _bare(path: str) -> str:
    """Take off what keeps spreadsheets from computing a path."""
    return path[2:] if path.startswith("./") and path[2:].startswith(FORMULA) else path
