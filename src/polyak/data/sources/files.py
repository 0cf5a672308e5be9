"""Images as files below a folder."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from polyak.decoding.unreadable import BYTE_CAP, Unreadable

_BINARY = getattr(os, "O_BINARY", 0)


class Files:
    """Give files by position; paths are made when asked for: a million objects would fill memory.

    Args:
        root: the folder that `keys` are relative to.
        keys: names below it, with "/" between folders.

    >>> Files("data", ["a/1.jpg"]).place(0)
    'data/a/1.jpg'
    """

    def __init__(self, root: str | Path, keys: Sequence[str]):
        self.root: Path = Path(root)
        self.keys: Sequence[str] = keys

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, position: int) -> str:
        """Name a file with its folder."""
        return str(self.root / self.keys[position])

    def read(self, position: int) -> bytes:
        """Read a file whole.

        Raises:
            Unreadable: with the system's reason.
        """
        return read_file(self.root / self.keys[position])

    def take(self, positions: Iterable[int]) -> "Files":
        """Keep some files, in their order."""
        return Files(self.root, [self.keys[i] for i in positions])


def read_file(path: Path) -> bytes:
    """Read a regular file whole; a pipe or device is refused, not waited for.

    Raises:
        Unreadable: with the system's reason.

    >>> read_file(Path("/dev/null"))
    Traceback (most recent call last):
    ...
    polyak.decoding.unreadable.Unreadable: not a regular file
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        try:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise Unreadable("not a regular file")
            if about.st_size > BYTE_CAP:
                raise Unreadable(f"{about.st_size} bytes, more than the cap of {BYTE_CAP}")
            data = os.read(handle, about.st_size + 1)
            while more := os.read(handle, 1 << 20) if len(data) < about.st_size else b"":
                data += more
            return data
        finally:
            os.close(handle)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    except ValueError as error:  # a zero byte in the name
        raise Unreadable(str(error)) from error
