"""Images without labels: files and folders as somebody typed them."""

from collections.abc import Iterable
from pathlib import Path

from polyak.data.sources.listing import natural
from polyak.data.sources.walk import Walk, below
from polyak.errors import DataError


def list_images(inputs: Iterable[str | Path], notes: list[str] | None = None) -> list[Path]:
    """List files as named, and every visible file below folders, in natural order.

    Links are followed as in training, each real folder once. What is no image is found out when it
    is read, and so is a folder that cannot be: it is listed itself.

    Args:
        inputs: files and folders.
        notes: takes a line for each folder that was reached twice, or not read.

    Raises:
        DataError: a path does not exist, or there is no file at all.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("10.jpg", "9.jpg", ".hidden"):
    ...     (folder / name).touch()
    >>> [file.name for file in list_images([folder])]
    ['9.jpg', '10.jpg']
    """
    inputs = [Path(each) for each in inputs]
    found, lines = [], []
    for path in inputs:
        if not path.exists() and not path.is_symlink():
            raise DataError("cannot predict", where=str(path), why="no such file or folder")
        if path.is_dir():
            walk = Walk(path)
            found += _below(walk)
            lines += walk.warnings
        else:
            found.append(path)
    if notes is not None:
        notes += lines
    if not found:
        raise DataError("no images to predict", where=", ".join(map(str, inputs)))
    return found


def _below(walk: Walk) -> list[Path]:
    real = [""]
    for folder in real:  # grows: a real folder keeps its own name, whatever links lead to it
        walk.own(folder)
        inner = (below(folder, name) for name in walk.folders(folder))
        real += [one for one in inner if not (walk.root / one).is_symlink()]
    names = [*walk.files(""), *(folder for folder, _ in walk.unread)]
    return sorted((walk.root / name for name in names), key=lambda file: natural(str(file)))
