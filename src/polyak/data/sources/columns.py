"""The columns of a table: which are read, and which were perhaps meant to be."""

import difflib
from pathlib import Path

from polyak.errors import DataError, UsageError, shown

NEEDED = ("path", "label")
READ = (*NEEDED, "split", "digest", "group")
KNOWN = (*READ, "labels")
# what other programs call them
_CALLED = {
    "path": "file filename file_name filepath file_path image images image_path image_name img "
    "img_path img_name",
    "label": "class classes class_name classname category categories target y",
    "split": "subset set fold folds part partition phase",
}
_MEANT = {name: column for column, names in _CALLED.items() for name in names.split()}
_ALIKE = 0.8  # of difflib: lable, splt


def read_columns(path: Path, cells: list[str]) -> tuple[list[str], list[str]]:
    """Read a table's first line: (names of its columns, lines for the user).

    Raises:
        UsageError: a column that was perhaps meant to be one that is missing.
        DataError: a column is missing, stands twice, or cannot be used yet.

    >>> read_columns(Path("a.csv"), ["Path", "label", "width"])
    (['path', 'label', 'width'], ['columns of a.csv that are not used: width'])
    >>> read_columns(Path("a.csv"), ["path", "label", "fold"])
    Traceback (most recent call last):
    ...
    polyak.errors.UsageError: is this a split?: a.csv, column fold. Next: call it split, or take \
the column out
    """
    names = [cell.strip().lower() for cell in cells]
    for name in names:
        if name in KNOWN and names.count(name) > 1:
            raise DataError("a column stands twice", where=f"{path}, column {name}")
    if "labels" in names:
        raise DataError(
            "several labels an image cannot be trained on",
            where=f"{path}, column labels",
            then="give each image one label, in a column called label",
        )
    unused = [name for name in names if name and name not in READ]
    for name in unused:
        meant = _meant(name)
        if meant and meant not in names:
            raise UsageError(
                f"is this a {meant}?",
                where=f"{path}, column {name}",
                then=f"call it {meant}" + ", or take the column out" * (meant not in NEEDED),
            )
    for name in NEEDED:
        if name not in names:
            first = ",".join(cells)
            apart = "separate cells by commas, and " if ";" in first or "\t" in first else ""
            raise DataError(
                f"no column '{name}'",
                where=str(path),
                why=f"the first line is {first[:100] or 'empty'}",
                then=f"{apart}begin the file with the line path,label or path,label,split",
            )
    listed = ", ".join(map(shown, unused))
    return names, [f"columns of {path.name} that are not used: {listed}"] if unused else []


def _meant(name: str) -> str | None:
    if name in KNOWN:
        return None
    near = difflib.get_close_matches(name, ("path", "label", "split"), 1, _ALIKE)
    return _MEANT.get(name.replace(" ", "_").replace("-", "_"), near[0] if near else None)
