"""Folders as data: class/*.jpg, or train/ val/ test/ with classes inside."""

import os
from pathlib import Path

from polyak.data.listing import SPLITS, Listing, listing
from polyak.errors import DataError, shown

TREE = "put the pictures in one folder a class: DATA/cat/1.jpg DATA/dog/2.jpg"


def list_folder(root: Path) -> Listing:
    """List the pictures below a folder; each real folder is read once, whatever links lead to it.

    Every file that is not hidden counts as found; the scan judges its content.

    Raises:
        DataError: no class folders, or val/test without train.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.jpg", "dog/2.jpg"):
    ...     (root / name).parent.mkdir(); (root / name).touch()
    >>> list_folder(root).paths
    ['cat/1.jpg', 'dog/2.jpg']
    """
    walk = _Walk(root)
    folders = walk.folders("")
    parts = {name: SPLITS[name.lower()] for name in folders if name.lower() in SPLITS}
    parts = {name: part for name, part in parts.items() if _holds_classes(walk, name)}
    if not parts or ("train" not in parts.values() and len(parts) < len(folders)):
        walk.claim(folders)
        paths, names = _classes(walk, "", folders)
        splits, classes = [""] * len(paths), folders
    else:
        paths, names, splits, classes = _parts(walk, parts, [f for f in folders if f not in parts])
    if not classes:
        raise DataError("no class folders", where=str(root), then=TREE)
    return listing(root, paths, names, splits, walk.warnings, classes)


def _holds_classes(walk, name):
    # a class may itself be called "train" (the vehicle): then it holds files
    return bool(walk.folders(name)) and not any(f.is_file() for f in walk.entries(name))


def _parts(walk, parts, others):
    if "train" not in parts.values():
        found = ", ".join(sorted(parts))
        raise DataError(
            "no train folder", where=str(walk.root), why=f"found only {found}", then=TREE
        )
    if others:
        walk.warnings.append(f"not used beside train: {shown(', '.join(others[:5]))}")
    paths, names, splits, classes = [], [], [], set()
    insides = {name: walk.folders(name) for name in parts}
    walk.claim(f"{name}/{folder}" for name, inside in insides.items() for folder in inside)
    for name, part in parts.items():
        inside = insides[name]
        found, labels = _classes(walk, name, inside)
        classes.update(inside if part == "train" else labels)
        paths += found
        names += labels
        splits += [part] * len(found)
    return paths, names, splits, sorted(classes)


def _classes(walk, prefix, folders):
    paths, names = [], []
    for name in folders:
        found = walk.files(f"{prefix}/{name}" if prefix else name)
        paths += found
        names += [name] * len(found)
    return paths, names


class _Walk:
    """Reads folders in a fixed order, without following a link into a folder already read."""

    def __init__(self, root):
        self.root = root
        self.warnings = []
        self._owner = {}

    def entries(self, folder):
        try:
            with os.scandir(self.root / folder) as found:
                # ends of symbolic link loops answer neither question and are left to the scan
                return sorted((e for e in found if e.name[0] != "."), key=lambda e: e.name)
        except OSError as error:
            self._warn(f"folder not read: {shown(folder or self.root)}: {error.strerror}")
            return []

    def folders(self, folder):
        return [entry.name for entry in self.entries(folder) if _is_folder(entry)]

    def files(self, folder):
        found, waiting = [], [folder]
        while waiting:
            folder = waiting.pop()
            if not self._own(folder):
                self._warn(f"folder reached twice through a link, read once: {shown(folder)}")
                continue
            inner = []
            for entry in self.entries(folder):
                path = f"{folder}/{entry.name}"
                (inner if _is_folder(entry) else found).append(path)
            waiting += reversed(inner)
        return found

    def _warn(self, line):
        if line not in self.warnings:
            self.warnings.append(line)

    def claim(self, folders):
        """Give each class its own folder before any link inside another class can lead there."""
        for folder in sorted(folders, key=lambda name: (self.root / name).is_symlink()):
            self._own(folder)

    def _own(self, folder):
        try:
            stat = (self.root / folder).stat()
        except OSError:
            return True  # `entries` will say why it cannot be read
        return self._owner.setdefault((stat.st_dev, stat.st_ino), folder) == folder


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:
        return False
