"""Where images come from: a folder, a CSV, or the built-in digits."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from polyak.data.sources.csv_table import list_table
from polyak.data.sources.digits import list_digits
from polyak.data.sources.folder import list_folder
from polyak.data.sources.label_columns import SEPARATOR
from polyak.data.sources.listing import Listing, refuse_unseen
from polyak.data.sources.split_folders import TREE
from polyak.errors import DataError, UsageError, shown

ClassesFrom = Literal["auto", "leaf", "top"]


def find(
    data: str | Path,
    classes_from: ClassesFrom = "auto",
    known: Collection[str] = frozenset(),
    label_separator: str = SEPARATOR,
) -> Listing:
    """List the images of a data set without opening them.

    Args:
        data: a folder (`class/*.jpg`, or `train/ val/ test/` with classes inside), a CSV with the
            columns path, label and maybe split, or "digits" (a folder of that name is "./digits").
        classes_from: which folder names the class, the one at the `top` or the `leaf` that holds
            the images; `auto` is the top one, and is refused where the tree could mean either.
        known: classes of a trained model: folders called so are classes.
        label_separator: between the names in a table's column `labels`.

    Raises:
        DataError: nothing there, no images, a class in val or test that train lacks, or folders
            that can be read in two ways.
        UsageError: `classes_from` for a CSV.
        DiskError: the digits cannot be written to the cache folder.

    >>> find("digits").classes[:3]
    ('0', '1', '2')
    """
    path = Path(data)
    digits = str(data) == "digits" and isinstance(data, str)
    if classes_from != "auto" and (digits or path.is_file()):
        why = f"{shown(data)} names its classes itself"
        raise UsageError("--classes-from is for folders", why=why, then="leave it away")
    if digits:
        return list_digits()
    if path.is_dir():
        found = list_folder(path, classes_from, known)
    elif path.is_file() and path.suffix.lower() == ".csv":
        found = list_table(path, label_separator)
    else:
        why = "neither a folder nor a CSV" if path.exists() else "no such file or folder"
        raise DataError("cannot use the data", where=str(path), why=why, then=TREE)
    if not len(found):
        raise DataError("no images", where=str(path), then=TREE)
    refuse_unseen(found.classes, found.labels, found.splits)
    return found
