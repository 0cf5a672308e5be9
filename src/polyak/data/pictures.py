"""Pictures without labels: files and folders as somebody typed them."""

import os
from collections.abc import Iterable
from pathlib import Path

from polyak.data.listing import natural
from polyak.errors import DataError


def pictures(inputs: Iterable[str | Path]) -> list[Path]:
    """List files as named, and every visible file below folders, in natural order.

    Links to folders are not followed; what is no picture is found out when it is read.

    Raises:
        DataError: a path does not exist, or there is no file at all.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("10.jpg", "9.jpg", ".hidden"):
    ...     (folder / name).touch()
    >>> [file.name for file in pictures([folder])]
    ['9.jpg', '10.jpg']
    """
    inputs = [Path(each) for each in inputs]
    found = []
    for path in inputs:
        if not path.exists() and not path.is_symlink():
            raise DataError("cannot predict", where=str(path), why="no such file or folder")
        found += _below(path) if path.is_dir() else [path]
    if not found:
        raise DataError("no pictures to predict", where=", ".join(map(str, inputs)))
    return found


def _below(folder: Path) -> list[Path]:
    files = []
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(top) / name for name in names if not name.startswith(".")]
    return sorted(files, key=lambda file: natural(str(file)))
