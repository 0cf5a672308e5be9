"""Which folders are train, val and test, however they are spelled, and which only look so."""

from collections.abc import Callable
from dataclasses import dataclass, field

from polyak.data.sources.listing import split_of
from polyak.data.sources.walk import Walk, below
from polyak.errors import DataError, shown

TREE = "put the images in one folder a class: DATA/cat/1.jpg DATA/dog/2.jpg"
_USUAL = {"train", "val", "test"}  # a split spelled so needs no remark
_MOST = 5  # names shown, of many


@dataclass
class SplitFolders:
    """Say which folders are splits.

    Args:
        parts: folder that holds class folders -> train, val or test.
        between: folders in which images have no class.
        notes: one line for each thing that the user should know.

    >>> SplitFolders().parts
    {}
    """

    parts: dict[str, str] = field(default_factory=dict)
    between: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def split_folders(walk: Walk, top: str, classes_from: str) -> SplitFolders:
    """Find the splits among the folders of `top`: named so, and with class folders inside.

    A class may itself be called train (the vehicle): then it holds images, beside other folders
    that do.

    Args:
        walk: over the tree.
        top: where the splits would lie.
        classes_from: `top` or `leaf` where the user says what folders mean, else `auto`.

    Raises:
        DataError: there are splits, but nothing to train on.

    >>> import tempfile
    >>> from pathlib import Path
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("seg_train/cat", "seg_test/cat"):
    ...     (root / name).mkdir(parents=True)
    >>> split_folders(Walk(root), "", "auto").parts
    {'seg_test': 'test', 'seg_train': 'train'}
    """
    found = SplitFolders()
    names = walk.folders(top)
    means = named(names)
    others = [name for name in names if name not in means]
    trains = [n for n in means if means[n] == "train" and walk.folders(below(top, n))]
    if not trains:
        if classes_from == "auto" and (line := _without_train(walk, top, means, others)):
            found.notes.append(line)
        return found
    vehicle = [n for n in trains if any(walk.images(below(top, n)))]
    if vehicle and classes_from != "leaf" and _is_class(walk, top, means, others):
        inner = ", ".join(map(shown, walk.folders(below(top, vehicle[0]))[:_MOST]))
        found.notes.append(
            f"{shown(vehicle[0])} holds images itself, so it is a class and all below it ({inner}) "
            "is of it; --classes-from leaf takes it for a split"
        )
        return found
    return _filled(found, walk, top, means, others)


def named(names: list[str]) -> dict[str, str]:
    """Give the folders that are called like a split: name -> train, val or test.

    A name with words of its own (bullet_train) counts where another split shares them.

    >>> named(["Training", "test", "cat"])
    {'Training': 'train', 'test': 'test'}
    >>> named(["flowers_train", "flowers_test"]), named(["bullet_train", "city_test"])
    ({'flowers_train': 'train', 'flowers_test': 'test'}, {})
    """
    read = {name: means for name in names if (means := split_of(name))}
    of_words = {}
    for split, words in read.values():
        of_words.setdefault(words, set()).add(split)
    paired = {words for words, splits in of_words.items() if "train" in splits and len(splits) > 1}
    return {n: split for n, (split, words) in read.items() if not words or words in paired}


def unwrapped(walk: Walk, folder: str, stop: Callable[[str], object]) -> str:
    """Look into a folder that lies alone in its place and holds folders, but no images.

    Args:
        walk: over the tree.
        folder: where to begin.
        stop: tells of a name whether it says something.

    >>> import tempfile
    >>> from pathlib import Path
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("photos/photos/cat", "photos/photos/dog"):
    ...     (root / name).mkdir(parents=True)
    >>> unwrapped(Walk(root), "", lambda name: False)
    'photos/photos'
    """
    seen = {walk.number(folder)}
    while len(names := walk.folders(folder)) == 1 and not stop(names[0]):
        inner = below(folder, names[0])
        number = walk.number(inner)
        if number in seen or not walk.folders(inner) or any(walk.images(inner)):
            break
        seen.add(number)
        folder = inner
    return folder


def _is_class(walk, top, means, others) -> bool:
    """Tell whether a train with images is a class: others hold some, and no split is like it."""
    inside = [(split, set(walk.folders(below(top, name)))) for name, split in means.items()]
    learnt = set().union(*(names for split, names in inside if split == "train"))
    shared = any(names & learnt for split, names in inside if split != "train")
    return not shared and any(walk.holds_images(below(top, name)) for name in others)


def _without_train(walk, top, means, others) -> str:
    """Refuse splits without anything to train on; give the line where they are classes."""
    nested = [name for name in means if walk.folders(below(top, name))]
    if not nested and len(set(means.values())) < 2:
        return ""
    names = ", ".join(map(shown, sorted(nested or means)[:_MOST]))
    if any(walk.holds_images(below(top, name)) for name in others):
        return f"taken as a class, for there is no train beside it: {names}" if nested else ""
    raise DataError(
        "no train folder" if nested else "no class folders",
        where=str(walk.root / top),
        why=f"found only {names}" if nested else f"{names} hold no folders",
        then=TREE if nested else f"{TREE}; if {names} are the classes, --classes-from top",
    )


def _filled(found: SplitFolders, walk, top, means, others) -> SplitFolders:
    learnt: set[str] = set()
    bases, unused = {}, list(others)
    for name, split in sorted(means.items(), key=lambda pair: pair[1] != "train"):
        folder = below(top, name)
        says_something: set[str] = set() if split == "train" else learnt
        base = unwrapped(walk, folder, says_something.__contains__)
        classes = set(walk.folders(base))
        foreign = split != "train" and not classes & learnt and any(walk.images(folder))
        found.between += [folder, base]
        if not classes or foreign:
            unused.append(f"{name} (no class folders in it)")
            continue
        learnt |= classes if split == "train" else set()
        bases[name] = base
    found.parts = {bases[name]: split for name, split in means.items() if name in bases}
    spelled = [
        f"{shown(base)} as {means[name]}"
        for name, base in bases.items()
        if name not in _USUAL or base != below(top, name)
    ]
    if spelled:
        found.notes.append(f"read as splits: {', '.join(spelled)}")
    if unused:
        found.notes.append(f"not used beside train: {', '.join(map(shown, unused[:_MOST]))}")
    return found
