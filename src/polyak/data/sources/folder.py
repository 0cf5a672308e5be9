"""Folders as data: class/*.jpg, or train/ val/ test/ with classes inside."""

from collections.abc import Collection
from pathlib import Path

from polyak.data.sources.files import Files
from polyak.data.sources.layout import Layout, read_layout
from polyak.data.sources.listing import Listing, listing
from polyak.data.sources.split_folders import TREE
from polyak.data.sources.walk import Walk, below
from polyak.errors import DataError, shown

LOOSE = "it lies in no class folder"
_NAMED = 3  # of many, shown


def list_folder(
    root: Path, classes_from: str = "auto", known: Collection[str] = frozenset()
) -> Listing:
    """List the images below a folder; each real folder is read once, whatever links lead to it.

    Every file of a class folder that is not hidden counts as found; the scan judges its content.
    Images beside class folders have no label, and are left out.

    Args:
        root: the folder.
        classes_from: which folder names the class: the one at the `top`, or the `leaf` that holds
            the images; `auto` takes the top one, and refuses where the tree could mean either.
        known: classes of a trained model: where all folders are called so, they are classes.

    Raises:
        DataError: no class folders, val or test without train, or a tree of two meanings.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.jpg", "dog/2.jpg"):
    ...     (root / name).parent.mkdir(); (root / name).touch()
    >>> list_folder(root).paths
    ['cat/1.jpg', 'dog/2.jpg']
    """
    walk = Walk(root)
    layout = read_layout(walk, classes_from, known)
    if not any(place.split in ("", "train") for place in layout.places):
        raise DataError("no class folders", where=str(root), then=TREE)
    walk.claim(place.folder for place in layout.places)
    paths, names, splits, classes = [], [], [], []
    for place in layout.places:
        found = walk.files(place.folder)
        paths += found
        names += [place.label] * len(found)
        splits += [place.split] * len(found)
        if place.split in ("", "train"):  # an empty class is told of
            classes.append(place.label)
    left_out, lines = _loose(walk, layout)
    lines = [*layout.notes, *lines, *walk.warnings]
    return listing(Files(root, paths), names, splits, lines, classes, left_out=left_out)


def _loose(walk: Walk, layout: Layout) -> tuple[list[tuple[str, str]], list[str]]:
    """Name the images beside class folders, and tell of them and of tables, which say nothing."""
    images = [path for folder in dict.fromkeys(layout.between) for path in walk.images(folder)]
    lines = []
    if images:
        names = ", ".join(map(shown, images[:_NAMED])) + ", ..." * (len(images) > _NAMED)
        lines.append(f"{len(images)} images lie in no class folder and are not used: {names}")
    for folder in dict.fromkeys(layout.between):
        for entry in walk.entries(folder):
            if entry.name.lower().endswith(".csv"):
                table = shown(below(folder, entry.name))
                lines.append(
                    f"{table} is not read, folders name the classes; to go by it, give it as DATA"
                )
    return [(path, LOOSE) for path in images], lines
