"""What the folders of a tree mean: wrappers, splits, classes."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from polyak.data.sources.listing import natural, split_of
from polyak.data.sources.split_folders import named, split_folders, unwrapped
from polyak.data.sources.walk import Walk, below
from polyak.errors import DataError, shown

_MOST = 5  # names shown, of many


class Place(NamedTuple):
    """A folder whose images, however deep, are of one class and one split.

    >>> Place("cat", "train", "train/cat").label
    'cat'
    """

    label: str
    split: str
    folder: str


@dataclass
class Layout:
    """What the folders of a tree mean.

    Args:
        places: class folders.
        between: folders that hold class folders; images directly in them have no class.
        notes: one line for each thing that the user should know.

    >>> Layout().places
    []
    """

    places: list[Place] = field(default_factory=list)
    between: list[str] = field(default_factory=lambda: [""])
    notes: list[str] = field(default_factory=list)


def read_layout(walk: Walk, classes_from: str, known: Collection[str] = frozenset()) -> Layout:
    """Say which folders are classes, and of which split.

    A file that is no image changes nothing, and neither does a folder without images beside others.

    Args:
        walk: over the tree.
        classes_from: `top`, `leaf` or `auto`.
        known: classes of a trained model; where all folders are called so, they are classes.

    Raises:
        DataError: no train beside val or test, or a tree that can be read in two ways.

    >>> import tempfile
    >>> from pathlib import Path
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "Training" / "cat").mkdir(parents=True)
    >>> read_layout(Walk(root), "auto").places
    [Place(label='cat', split='train', folder='Training/cat')]
    """
    layout = Layout()
    top = unwrapped(walk, "", lambda name: name in known or named([name]))
    layout.between.append(top)
    if top:
        layout.notes.append(f"looked into {shown(top)}, for it lies alone")
    if classes_from == "auto" and known and set(walk.folders(top)) <= set(known):
        _add_classes(layout, walk, top, "", "top")
        return layout
    splits = split_folders(walk, top, classes_from)
    layout.between += splits.between
    layout.notes += splits.notes
    if not splits.parts and classes_from != "leaf" and (inside := _splits_inside(walk, top)):
        layout.places = inside
        layout.notes.append(f"read as splits, inside of each class: {shown(inside[0].folder)}, ...")
        return layout
    parts = splits.parts or {top: ""}
    if classes_from == "auto":
        learnt = [base for base, split in parts.items() if split in ("", "train")]
        classes_from = _decided(walk, learnt, known, layout.notes)
    for base, split in parts.items():
        _add_classes(layout, walk, base, split, classes_from)
    return layout


def _add_classes(layout: Layout, walk: Walk, base: str, split: str, classes_from: str) -> None:
    folders = [below(base, name) for name in walk.folders(base)]
    if classes_from == "leaf":
        folders, between = _leaves(walk, folders)
        layout.between += between
    layout.places += [Place(folder.rpartition("/")[2], split, folder) for folder in folders]


def _leaves(walk: Walk, folders: list[str]) -> tuple[list[str], list[str]]:
    """Follow folders to the innermost ones that hold images: (those, all between)."""
    leaves, between, seen = [], [], set()
    waiting = list(reversed(folders))
    while waiting:
        folder = waiting.pop()
        if (number := walk.number(folder)) in seen:
            continue
        seen.add(number)
        inner = [below(folder, name) for name in walk.folders(folder)]
        inner = [one for one in inner if walk.holds_images(one)]
        (between if inner else leaves).append(folder)
        waiting += reversed(inner)
    return leaves, between


def _splits_inside(walk: Walk, top: str) -> list[Place]:
    """Read cat/train, cat/test, dog/train, dog/test: classes that hold splits and nothing else."""
    places = []
    for name in walk.folders(top):
        folder = below(top, name)
        inner = [one for one in walk.folders(folder) if walk.holds_images(below(folder, one))]
        read = [(one, split_of(one)) for one in inner]
        if not read and not walk.holds_images(folder):
            continue
        if not read or any(not means or means[1] for _, means in read) or any(walk.images(folder)):
            return []
        places += [Place(name, means[0], below(folder, one)) for one, means in read if means]
    return places if any(place.split == "train" for place in places) else []


def _decided(walk: Walk, bases: list[str], known: Collection[str], notes: list[str]) -> str:
    """Say which folders name the classes, those at the top or the leaves.

    Raises:
        DataError: all top folders hold folders of the same names, or one holds the others' names.
    """
    for base in bases:
        tops = walk.folders(base)
        inner = {top: _held(walk, below(base, top)) for top in tops}
        inner = {top: names for top, names in inner.items() if names}
        shared = _shared(walk, base, tops, inner)
        why = f"{_listed(inner)} all hold folders named {_listed(shared)}"
        for top, names in inner.items():
            if len(copies := names.intersection(tops) - {top}) > 1:
                shared, why = copies, f"{shown(top)} holds folders named as those beside it"
        if len(shared) > 1:
            if known:
                return "leaf" if shared & set(known) else "top"
            raise DataError(
                "the folders can be read in two ways",
                where=str(walk.root / base),
                why=why,
                then=f"--classes-from leaf where the classes are {_listed(shared)}, "
                f"--classes-from top where they are {_listed(tops)}; or give a CSV",
            )
        often = Counter(name for names in inner.values() if len(names) > 1 for name in names)
        if len(again := {name for name, count in often.items() if count > 1}) > 1:
            notes.append(
                f"the classes are {_listed(tops)}; the folders {_listed(again)} stand in several "
                "of them: --classes-from leaf takes these"
            )
    return "top"


def _held(walk: Walk, folder: str) -> set[str]:
    return {name for name in walk.folders(folder) if walk.holds_images(below(folder, name))}


def _shared(walk: Walk, base: str, tops: list[str], inner: dict[str, set[str]]) -> set[str]:
    """Name the folders that all of the top folders hold, directly or as leaves."""
    if len(inner) < 2 or any(walk.holds_images(below(base, t)) for t in tops if t not in inner):
        return set()
    shared = set.intersection(*inner.values())
    if len(shared) > 1:
        return shared
    leaves = [_leaves(walk, [below(base, top)])[0] for top in inner]
    return set.intersection(*({leaf.rpartition("/")[2] for leaf in some} for some in leaves))


def _listed(names: Iterable[str]) -> str:
    names = sorted(names, key=natural)
    return ", ".join(map(shown, names[:_MOST])) + ", ..." * (len(names) > _MOST)
