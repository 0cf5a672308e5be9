"""Images that belong together by what the user says: one patient, one piece, one video.

No split, fold or search for copies parts them: an image of a group that was trained on would
flatter the score of the others.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from polyak.data.dataset import Dataset
from polyak.errors import UsageError, counted, shown

SPLITS = ("train", "val", "test")
_LISTED = 3  # names in a line


def named_by(data: Dataset, pattern: str | None) -> Dataset:
    r"""Name each image's group by what a pattern finds in its path.

    The first bracket of the pattern names the group, or all that it finds where it has none; a path
    in which it finds nothing is a group of its own.

    Args:
        data: a scanned data set.
        pattern: a regular expression, searched for in the path below the data's folder; None leaves
            the groups as they are.

    Raises:
        UsageError: no pattern, one that finds nothing at all, or groups that a table names too.

    >>> from polyak.data.sources.files import Files
    >>> files = Files(".", ["a/p1_x.png", "a/p2_x.png", "b/p1_y.png"])
    >>> data = Dataset(files, np.array([0, 0, 1]), ("a", "b"), np.ones((3, 2), int),
    ...                np.zeros((3, 2), np.uint64), np.array([""] * 3))
    >>> named_by(data, r"/(p\d+)_").named_groups.tolist()
    ['p1', 'p2', 'p1']
    """
    if pattern is None:
        return data
    where = f"--group-by {shown(pattern)}"
    if data.named_groups is not None:
        then = "leave --group-by away, or take the column out"
        raise UsageError("groups are named twice", where=where, why="by a column too", then=then)
    try:
        found = [re.search(pattern, path) for path in data.paths]
    except re.error as error:
        raise UsageError("no regular expression", where=where, why=str(error)) from error
    names = [(one.group(1) if one.re.groups else one.group()) or "" if one else "" for one in found]
    if not any(names):
        path = shown(data.paths[0]) if len(data) else ""
        why = f"it finds nothing in any path; the first is {path}"
        raise UsageError("no image has a group", where=where, why=why)
    named = replace(data, named_groups=np.array(names, object))
    return replace(named, warnings=[*named.warnings, *_told(named)])


def numbers(names: np.ndarray) -> np.ndarray:
    """Number groups by their names; what has none is a group of its own: int64 (n,).

    >>> numbers(np.array(["p", "", "p", ""], object)).tolist()
    [0, 1, 0, 2]
    """
    found: dict[object, int] = {}
    return np.array([found.setdefault(name or (i,), len(found)) for i, name in enumerate(names)])


def joined(near: np.ndarray, names: np.ndarray | None) -> np.ndarray:
    """Join groups of what looks the same with those that have names: int64 (n,).

    Args:
        near: int64 (n,), one number for images that look the same.
        names: (n,), of the user's groups; None where there are none.

    >>> joined(np.array([0, 0, 1, 2]), np.array(["p", "q", "q", ""], object)).tolist()
    [0, 0, 0, 1]
    """
    if names is None:
        return near
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    named = numbers(names)
    count = int(near.max()) + 1
    size = count + int(named.max()) + 1
    edges = np.ones(len(near), bool), (near, count + named)
    found = connected_components(coo_array(edges, shape=(size, size)), directed=False)[1][near]
    return np.unique(found, return_inverse=True)[1].reshape(-1)


def leaks(data: Dataset) -> Iterator[str]:
    """Say which groups stand in several splits that the data itself came with.

    >>> from polyak.data.sources.files import Files
    >>> data = Dataset(Files(".", ["a", "b"]), np.arange(2), ("a", "b"), np.ones((2, 2), int),
    ...                np.zeros((2, 2), np.uint64), np.array(["train", "test"]),
    ...                named_groups=np.array(["p", "p"], object))
    >>> list(leaks(data))
    ['one group stands in several splits: p; scores flatter']
    """
    if data.named_groups is None:
        return
    parts: dict[str, set[str]] = {}
    for name, split in zip(data.named_groups, data.splits, strict=True):
        if name and split:
            parts.setdefault(name, set()).add(split)
    torn = sorted(name for name, splits in parts.items() if len(splits) > 1)
    if torn:
        some = ", ".join(shown(name) for name in torn[:_LISTED])
        stand = "group stands" if len(torn) == 1 else "groups stand"
        count = "one" if len(torn) == 1 else f"{len(torn):,}"
        more = ", ..." * (len(torn) > _LISTED)
        yield f"{count} {stand} in several splits: {some}{more}; scores flatter"


def _told(data: Dataset) -> Iterator[str]:
    names = data.named_groups
    assert names is not None
    alone = int((names == "").sum())
    groups = len(set(names.tolist()) - {""})
    rest = f"; {counted(alone, 'image', ',')} without one" if alone else ""
    yield f"{counted(groups, 'group', ',')} in the paths of {len(data):,} images{rest}"
    yield from leaks(data)
