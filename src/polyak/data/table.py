"""CSV files written so that no spreadsheet runs them."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from polyak.files import write_atomic

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute begins so


def write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV; a path that looks like a formula begins with "./", any other cell with a quote.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.csv"
    >>> write_table(target, ["path", "label"], [["=1+1.jpg", "=cat"]])
    >>> target.read_text().split()
    ['path,label', "./=1+1.jpg,'=cat"]
    """
    write_atomic(path, table_text(header, rows).encode("utf-8", "surrogateescape"))


def table_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    r"""Give the text of a CSV as `write_table` writes it.

    >>> table_text(["path", "error"], [["a.jpg", "@x"]])
    "path,error\na.jpg,'@x\n"
    """
    header = list(header)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    careful = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    for row in rows:
        cells = [_quiet(str(cell), column) for cell, column in zip(row, header, strict=True)]
        # Python 3.11 leaves a carriage return bare, which would end the row
        (careful if any("\r" in cell for cell in cells) else writer).writerow(cells)
    return text.getvalue()


def _quiet(cell, column):
    if cell.startswith(FORMULA):
        return f"./{cell}" if column == "path" else f"'{cell}"
    return cell
