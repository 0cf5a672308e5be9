"""The columns of a table: which are read, and which were perhaps meant to be."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from polyak.errors import DataError, UsageError, shown

NEEDED = ("path", "label")
READ = (*NEEDED, "labels", "split", "digest", "group")
# what other programs call them
_CALLED = {
    "path": "file filename file_name filepath file_path image images image_path image_name img "
    "img_path img_name",
    "label": "class classes class_name classname category categories target y",
    "split": "subset set fold folds part partition phase",
}
_MEANT = {name: column for column, names in _CALLED.items() for name in names.split()}
_ALIKE = 0.8  # of difflib: lable, splt


@dataclass(frozen=True)
class Columns:
    """Hold what a table's first line says.

    Args:
        names: of all columns, in their order.
        notes: lines for the user.
        marks: columns that may be labels of 0 and 1, where no column names labels.
    """

    names: list[str]
    notes: list[str]
    marks: list[str]

    @property
    def several(self) -> bool:
        """Whether images have several labels."""
        return "labels" in self.names or bool(self.marks)


def read_columns(path: Path, cells: list[str]) -> Columns:
    """Read a table's first line.

    Raises:
        UsageError: a column that was perhaps meant to be one that is missing.
        DataError: a column is missing, or stands twice.

    >>> read_columns(Path("a.csv"), ["Path", "label", "width"]).notes
    ['columns of a.csv that are not used: width']
    >>> read_columns(Path("a.csv"), ["path", "cat", "dog"]).marks
    ['cat', 'dog']
    >>> read_columns(Path("a.csv"), ["path", "label", "fold"])
    Traceback (most recent call last):
    ...
    polyak.errors.UsageError: is this a split?: a.csv, column fold. Next: call it split, or take \
the column out
    """
    names = [_named(cell.strip()) for cell in cells]
    marked = not {"label", "labels"} & set(names)
    for name in names:
        if name and (name in READ or marked) and names.count(name) > 1:
            raise DataError("a column stands twice", where=f"{path}, column {shown(name)}")
    if {"label", "labels"} <= set(names):
        why, then = "one of them names what is learnt", "take the other out"
        raise DataError("columns label and labels", where=str(path), why=why, then=then)
    unused = [name for name in names if name and name not in READ]
    for name in unused:
        meant = _meant(name)
        if meant and meant not in names:
            raise UsageError(
                f"is this a {meant}?",
                where=f"{path}, column {name}",
                then=f"call it {meant}" + ", or take the column out" * (meant not in NEEDED),
            )
    if "path" in names and marked and unused:
        return Columns(names, [], unused)
    for name in NEEDED:
        if name not in names and not (name == "label" and "labels" in names):
            raise _missing(name, path, cells)
    listed = ", ".join(map(shown, unused))
    notes = [f"columns of {path.name} that are not used: {listed}"] if unused else []
    return Columns(names, notes, [])


def no_label(path: Path, cells: list[str]) -> DataError:
    """Say that no column is one of labels.

    >>> no_label(Path("a.csv"), ["path", "width"]).what
    "no column 'label'"
    """
    return _missing("label", path, cells)


def _missing(name: str, path: Path, cells: list[str]) -> DataError:
    first = ",".join(cells)
    apart = "separate cells by commas, and " if ";" in first or "\t" in first else ""
    return DataError(
        f"no column '{name}'",
        where=str(path),
        why=f"the first line is {first[:100] or 'empty'}",
        then=f"{apart}begin the file with the line path,label or path,label,split",
    )


def _named(cell: str) -> str:
    """Name a column; one that is not polyak's own keeps its capitals, for it may be a label."""
    return lower if (lower := cell.lower()) in READ or _meant(lower) else cell


def _meant(name: str) -> str | None:
    name = name.lower()
    if name in READ:
        return None
    near = difflib.get_close_matches(name, ("path", "label", "split"), 1, _ALIKE)
    return _MEANT.get(name.replace(" ", "_").replace("-", "_"), near[0] if near else None)
