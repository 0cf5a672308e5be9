"""Several labels an image, as tables write them: names in one cell, or a column of 0 and 1 each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyak.data.sources.listing import natural
from polyak.errors import DataError, UsageError, counted, shown

SEPARATOR = ";"
LARGEST = 1 << 31  # cells of the table of labels, a byte each
_MARKS = {"0": 0, "1": 1, "": -1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
_OTHERS = ("|", ",", " / ", "/", "+")  # separators that people use instead
_MOSTLY = 0.5  # share of cells that are 0, 1 or empty from which on a column is one of labels


@dataclass(frozen=True)
class Marked:
    """Hold which labels each image has.

    Args:
        classes: names of the labels, in natural order.
        rows: int8 (n, K): 1 where an image has one, 0 where not, -1 where nobody knows.
        notes: a line for each thing that the user should know.
        absent: what is known of a label that is not named at all: 0 or -1.
    """

    classes: tuple[str, ...]
    rows: np.ndarray
    notes: list[str]
    absent: int


def listed(cells: Sequence[str], separator: str, table: str) -> Marked:
    """Read names in one cell an image, with a separator between; an empty cell names none.

    Raises:
        UsageError: another separator stands there.
        DataError: too many labels for so many images.

    >>> found = listed(["cat;dog", "dog", ""], ";", "a.csv")
    >>> found.classes, found.rows.tolist()
    (('cat', 'dog'), [[1, 1], [0, 1], [0, 0]])
    """
    each = [[name for part in cell.split(separator) if (name := part.strip())] for cell in cells]
    _check_separator(each, separator, table)
    classes = tuple(sorted({name for names in each for name in names}, key=natural))
    rows = _zeros(len(each), classes, table)
    position = {name: number for number, name in enumerate(classes)}
    repeated = 0
    for row, names in zip(rows, each, strict=True):
        row[[position[name] for name in names]] = 1
        repeated += len(names) != len(set(names))
    notes = []
    if none := sum(not names for names in each):
        notes.append(f"{counted(none, 'image', ',')} without a label: {_none(none)}")
    if repeated:
        notes.append(f"{counted(repeated, 'image', ',')} with a label that stands twice")
    return Marked(classes, rows, notes, 0)


def marked(names: Sequence[str], cells: Sequence[Sequence[str]], table: str) -> Marked:
    """Read a column of 0 and 1 for each label; an empty cell is a label that nobody knows.

    Args:
        names: of the columns that may be labels; those of other cells are left out.
        cells: of each image, those of these columns.
        table: the table.

    Raises:
        DataError: a cell of such a column is none of 0, 1 and nothing, or no label is known.

    >>> found = marked(["width", "cat", "dog"], [["30", "1", ""], ["40", "0", "1"]], "a.csv")
    >>> found.classes, found.rows.tolist(), found.notes[0]
    (('cat', 'dog'), [[1, -1], [0, 1]], 'columns of a.csv that are not used: width')
    """
    columns, rows, unused = [], [], []
    for number, name in enumerate(names):
        column = [row[number].strip().lower() for row in cells]
        values = [_MARKS.get(cell) for cell in column]
        odd = [i for i, value in enumerate(values) if value is None]
        if len(odd) > _MOSTLY * len(column) or set(column) == {""}:
            unused.append(name)
        elif odd:
            why = f"'{shown(column[odd[0]])[:20]}' in row {odd[0] + 2} is neither 0, 1 nor empty"
            raise DataError("a label is 1, 0, or empty", where=f"{table}, column {name}", why=why)
        else:
            columns.append(name)
            rows.append(values)
    notes = []
    if unused:
        notes.append(f"columns of {table} that are not used: {', '.join(map(shown, unused))}")
    if not columns:
        return Marked((), np.zeros((len(cells), 0), np.int8), notes, -1)
    order = sorted(range(len(columns)), key=lambda i: natural(columns[i]))
    marks = np.array([rows[i] for i in order], np.int8).T
    if unknown := int((marks < 0).sum()):
        share = unknown / marks.size
        line = f"{unknown:,} labels are not known ({share:.1%}): they take part in nothing"
        notes.append(line)
    return Marked(tuple(columns[i] for i in order), np.ascontiguousarray(marks), notes, -1)


def _zeros(images: int, classes: Sequence[str], table: str) -> np.ndarray:
    if images * len(classes) > LARGEST:
        why = f"{len(classes):,} labels of {images:,} images are more than {LARGEST / 2**30:g} GiB"
        raise DataError("too many labels", where=table, why=why)
    return np.zeros((images, len(classes)), np.int8)


def _none(count: int) -> str:
    return "it has none of the classes" if count == 1 else "they have none of the classes"


def _check_separator(each: list[list[str]], separator: str, table: str) -> None:
    if not separator.strip() and separator != "\t" and separator != " ":
        raise UsageError("no separator", where="--label-separator", why="it is empty")
    if any(len(names) > 1 for names in each):
        return
    for other in _OTHERS:
        apart = [name for names in each for name in names if other in name]
        parts = {part.strip() for name in apart for part in name.split(other)}
        # names with a comma in them are possible, but not such that their parts stand elsewhere
        whole = {name for names in each for name in names}
        if other != separator and apart and (parts & whole or len(apart) > len(each) / 2):
            raise UsageError(
                "is this the separator of labels?",
                where=table,
                why=f"'{separator}' stands nowhere, and {counted(len(apart), 'cell')} such as "
                f"'{shown(apart[0])}' hold '{other}'",
                then=f"--label-separator '{other}', or no column labels but label",
            )
