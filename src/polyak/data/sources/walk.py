"""Folders read in a fixed order, each real one once, whatever links lead to it."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyak.decoding.header import sniff
from polyak.decoding.unreadable import Unreadable
from polyak.errors import shown

# what systems and programs leave behind: their images are copies or previews of others
JUNK = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "__pycache__"}
SUFFIXES = tuple(
    f".{name}"
    for name in "jpg jpeg jpe jfif png webp bmp dib gif tif tiff heic heif avif jxl".split()
)
_HEAD = 32  # bytes that tell an image


class Walk:
    """Read folders below a root; whatever could not be read is told in `warnings`.

    Hidden files and folders, and those that systems leave behind, are passed by.

    Args:
        root: names of folders and files are relative to it, with "/" between; "" is itself.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "cat").mkdir(); (root / "cat" / "1.jpg").touch()
    >>> Walk(root).folders(""), Walk(root).files("cat")
    (['cat'], ['cat/1.jpg'])
    """

    def __init__(self, root: Path):
        self.root: Path = Path(root)
        self.warnings: list[str] = []
        self.unread: list[tuple[str, str]] = []  # (folder, reason)
        self._owner: dict[tuple[int, int], str] = {}
        self._folders: dict[str, list[str]] = {}

    def entries(self, folder: str) -> list[os.DirEntry[str]]:
        """List what is visible in a folder, by name; nothing where it cannot be read."""
        try:
            with os.scandir(self.root / folder) as found:
                # ends of symbolic link loops answer neither question and are left to the scan
                visible = (e for e in found if e.name[0] != "." and e.name not in JUNK)
                return sorted(visible, key=lambda entry: entry.name)
        except OSError as error:
            reason = error.strerror or str(error)
            if (folder, reason) not in self.unread:
                self.unread.append((folder, reason))
                self._warn(f"folder not read: {shown(folder or self.root)}: {reason}")
            return []

    def folders(self, folder: str) -> list[str]:
        """Name the folders directly in a folder, links to folders among them."""
        if folder not in self._folders:
            found = self.entries(folder)
            self._folders[folder] = [entry.name for entry in found if _is_folder(entry)]
        return self._folders[folder]

    def files(self, folder: str) -> list[str]:
        """List every file in a folder and below it, whatever it holds."""
        found, waiting = [], [folder]
        while waiting:
            folder = waiting.pop()
            if not self.own(folder):
                self._warn(f"folder reached twice through a link, read once: {shown(folder)}")
                continue
            inner = []
            for entry in self.entries(folder):
                (inner if _is_folder(entry) else found).append(below(folder, entry.name))
            waiting += reversed(inner)
        return found

    def images(self, folder: str) -> Iterator[str]:
        """Name the images that lie directly in a folder, by their first bytes."""
        for entry in self.entries(folder):
            if not _is_folder(entry) and is_image(self.root / below(folder, entry.name)):
                yield below(folder, entry.name)

    def holds_images(self, folder: str) -> bool:
        """Tell whether a folder, or one below it, holds what is or is called an image."""
        waiting, seen = [folder], set()
        while waiting:
            folder = waiting.pop()
            if (number := self.number(folder)) in seen:
                continue
            seen.add(number)
            for entry in self.entries(folder):
                path = below(folder, entry.name)
                if _is_folder(entry):
                    waiting.append(path)
                elif entry.name.lower().endswith(SUFFIXES) or is_image(self.root / path):
                    return True
        return False

    def claim(self, folders: Iterable[str]) -> None:
        """Give each class its own folder before any link inside another class can lead there."""
        for folder in sorted(folders, key=lambda name: (self.root / name).is_symlink()):
            self.own(folder)

    def own(self, folder: str) -> bool:
        """Tell whether this is the name by which a real folder was reached first."""
        number = self.number(folder)
        return number is None or self._owner.setdefault(number, folder) == folder

    def number(self, folder: str) -> tuple[int, int] | None:
        """Give what two names of one real folder have in common; None where it cannot be read."""
        try:
            about = (self.root / folder).stat()
        except OSError:
            return None  # `entries` will say why it cannot be read
        return about.st_dev, about.st_ino

    def _warn(self, line):
        if line not in self.warnings:
            self.warnings.append(line)


def below(folder: str, name: str) -> str:
    """Name what lies in a folder, itself named from the root.

    >>> below("", "cat"), below("train", "cat")
    ('cat', 'train/cat')
    """
    return f"{folder}/{name}" if folder else name


def is_image(path: Path) -> bool:
    """Tell by its first bytes whether a file is an image of a format that is read here.

    >>> is_image(Path(__file__))
    False
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            head = os.read(handle, _HEAD) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
        finally:
            os.close(handle)
        # two letters open a BMP, and many a text: its next header has a length of its own
        return sniff(head) != "BMP" or 12 <= int.from_bytes(head[14:18], "little") <= 124
    except (OSError, ValueError, Unreadable):
        return False


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:
        return False
