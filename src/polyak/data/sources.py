"""Where pictures come from: a folder, a CSV, or the built-in digits."""

from pathlib import Path

from polyak.data.digits import list_digits
from polyak.data.folder import TREE, list_folder
from polyak.data.listing import Listing, refuse_unseen
from polyak.data.table import list_table
from polyak.errors import DataError


def find(data: str | Path) -> Listing:
    """List the pictures of a data set without opening them.

    Args:
        data: a folder (`class/*.jpg`, or `train/ val/ test/` with classes inside), a CSV with the
            columns path, label and maybe split, or "digits" (a folder of that name is "./digits").

    Raises:
        DataError: nothing there, no pictures, or a class in val or test that train lacks.
        DiskError: the digits cannot be written to the cache folder.

    >>> find("digits").classes[:3]
    ('0', '1', '2')
    """
    if str(data) == "digits" and isinstance(data, str):
        return list_digits()
    path = Path(data)
    if path.is_dir():
        found = list_folder(path)
    elif path.is_file() and path.suffix.lower() == ".csv":
        found = list_table(path)
    else:
        why = "neither a folder nor a CSV" if path.exists() else "no such file or folder"
        raise DataError("cannot use the data", where=str(path), why=why, then=TREE)
    if not len(found):
        raise DataError("no pictures", where=str(path), then=TREE)
    refuse_unseen(found.classes, found.labels, found.splits)
    return found
