"""Open every file once, before training: what is it, how large, whose copy, and can it be used."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from polyak import machine
from polyak.data.dataset import Dataset
from polyak.data.depth import Depth
from polyak.data.groups import leaks
from polyak.data.sources.listing import Listing, numbers_used, refuse_unseen
from polyak.decoding.header import read_header
from polyak.decoding.notes import noting, quiet
from polyak.decoding.unreadable import PIXEL_CAP, Unreadable
from polyak.errors import DataError, shown
from polyak.targets import SEVERAL_LABELS, SINGLE_LABEL

_CHUNK = 256
_MOST_REPORTED = 5  # lines about what other libraries said


def scan(
    listing: Listing,
    threads: int | None = None,
    pixel_cap: int = PIXEL_CAP,
    classes: tuple[str, ...] | None = None,
) -> Dataset:
    """Judge every file from its header and hash its bytes; nothing is decoded but grey of 16 bits.

    Args:
        listing: what `find` found.
        threads: how many files at once; default one a processor.
        pixel_cap: the most pixels that an image may have.
        classes: the classes of a trained model, when the data is to be judged by it; then classes
            without images are no mistake, and the model knows how many bits to scale by.

    Returns:
        The usable images, and every other file with its reason in `quarantine`. Where grey images
        of 16 bits use fewer, all of them together, `bits` says how many.

    Raises:
        DataError: no image can be used, fewer than two classes, or a class that training (or the
            given `classes`) lacks.

    >>> from polyak.data.sources import find
    >>> data = scan(find("digits"))
    >>> len(data), data.sizes[0].tolist(), len(data.quarantine)
    (1797, [8, 8], 0)
    """
    n = len(listing)
    sizes = np.zeros((n, 2), np.int64)
    digests = np.zeros((n, 2), np.uint64)
    reasons, remarks, depth = {}, {}, Depth(pixel_cap)

    def examine(start):
        for i in range(start, min(start + _CHUNK, n)):
            with noting() as notes:
                try:
                    data = listing.source.read(i)
                    header = read_header(data, pixel_cap)
                    sizes[i], digests[i] = header.size, digest(data)
                    if listing.digests is not None and (digests[i] != listing.digests[i]).any():
                        raise Unreadable("another image than the table says: its digest differs")
                    if header.deep and classes is None:
                        depth.see(data)
                except Unreadable as error:
                    reasons[i] = error.reason
            if notes and i not in reasons:
                remarks[listing.source.keys[i]] = notes

    with quiet(), ThreadPoolExecutor(threads or machine.cores()) as pool:
        list(pool.map(examine, range(0, n, _CHUNK)))
    everything = Dataset(
        listing.source, listing.labels, listing.classes, sizes, digests,
        listing.splits, pixel_cap=pixel_cap, bits=depth.bits, named_groups=listing.groups,
        kind=SEVERAL_LABELS if listing.labels.ndim > 1 else SINGLE_LABEL,
    )  # fmt: skip
    data = everything.without(sorted(reasons.items()))
    data.quarantine.extend(listing.left_out)
    data.warnings.extend(listing.warnings)
    data.warnings.extend([*depth.notes(), *_reported(remarks)])
    if not len(data):
        _refuse_all(data)
    data = _fill_classes(data) if classes is None else _adopt_classes(data, classes, listing.absent)
    data.warnings.extend([*_copies(data), *leaks(data)])
    return data


def digest(data: bytes) -> np.ndarray:
    """Hash a file's bytes: uint64 (2,), what tells an image wherever it lies.

    >>> digest(b"").tolist()
    [4665148505410102986, 8103847710287220046]
    """
    return np.frombuffer(hashlib.blake2b(data, digest_size=16).digest(), "<u8")


def _reported(remarks: dict[str, list[str]]) -> Iterator[str]:
    """Tell what other libraries said of files that are used nevertheless, a line for each."""
    files = {}
    for path in sorted(remarks):
        for note in remarks[path]:
            files.setdefault(note, []).append(path)
    for note, paths in sorted(files.items(), key=lambda item: -len(item[1]))[:_MOST_REPORTED]:
        examples = ", ".join(shown(path) for path in paths[:3]) + ", ..." * (len(paths) > 3)
        yield f"{len(paths)} files ({examples}): {shown(note)}"


def _refuse_all(data):
    path, reason = data.quarantine[0]
    raise DataError(
        "no image can be used",
        where=str(data.root),
        why=f"{len(data.quarantine)} files left out; the first, {path}: {reason}",
    )


def _fill_classes(data: Dataset) -> Dataset:
    """Keep the classes that have an image to train on, and renumber."""
    refuse_unseen(data.classes, data.labels, data.splits)
    used = numbers_used(data.labels) if data.kind.several else np.unique(data.labels)
    empty = [name for i, name in enumerate(data.classes) if i not in set(used.tolist())]
    if empty:
        names = ", ".join(shown(name) for name in empty[:5]) + ", ..." * (len(empty) > 5)
        data.warnings.append(
            f"{len(empty)} of {len(data.classes)} classes left out, empty: {names}"
        )
    classes = tuple(data.classes[i] for i in used)
    if data.kind.several and len(classes):
        return _renumbered(data, classes)
    if len(classes) < 2:
        raise DataError(
            "only one class",
            where="".join(classes),
            why="there is nothing to tell apart",
            then="add a folder with images of another class, or give the folder that holds those",
        )
    return _renumbered(data, classes)


def _adopt_classes(data: Dataset, classes: tuple[str, ...], absent: int) -> Dataset:
    used = numbers_used(data.labels) if data.kind.several else np.unique(data.labels)
    unknown = sorted({data.classes[i] for i in used} - set(classes))
    if unknown:
        raise DataError(
            "a class that the model does not know",
            where=", ".join(unknown[:5]),
            why=f"it knows {', '.join(classes[:5])}{', ...' * (len(classes) > 5)}",
        )
    return _renumbered(data, classes, absent)


def _renumbered(data, classes, absent=0):
    if data.kind.several:
        return _columns(data, classes, absent)
    position = {name: i for i, name in enumerate(classes)}
    new = np.array([position.get(name, -1) for name in data.classes], np.int64)
    return replace(data, labels=new[data.labels], classes=classes)


def _columns(data: Dataset, classes: tuple[str, ...], absent: int) -> Dataset:
    """Put the columns of several labels in the order of some classes."""
    there = {name: i for i, name in enumerate(data.classes)}
    labels = np.full((len(data), len(classes)), absent, np.int8)
    for number, name in enumerate(classes):
        if name in there:
            labels[:, number] = data.labels[:, there[name]]
    return replace(data, labels=labels, classes=classes)


def _copies(data: Dataset):
    """Say how many files are exact copies, and which of them contradict or leak."""
    _, group = np.unique(data.digests, axis=0, return_inverse=True)
    group = group.reshape(-1)
    copies = len(group) - (group.max() + 1)
    if not copies:
        return
    yield f"{copies} files are exact copies of others"
    conflicts = mixed(group, data.answers)
    if len(conflicts):
        yield f"{_several(data, conflicts)} the same bytes as a file of another class"
    _, part = np.unique(data.splits, return_inverse=True)
    leaks = mixed(group, part)
    if len(leaks):
        yield f"{_several(data, leaks)} the same bytes as a file of another split; scores flatter"


def mixed(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Give the positions whose group holds more than one value.

    >>> mixed(np.array([0, 0, 1, 1]), np.array([5, 5, 5, 6])).tolist()
    [2, 3]
    """
    low = np.full(group.max() + 1, np.iinfo(np.int64).max)
    high = np.zeros(group.max() + 1, np.int64)
    np.minimum.at(low, group, value)
    np.maximum.at(high, group, value)
    return np.flatnonzero((low != high)[group])


def _several(data, positions):
    examples = ", ".join(shown(data.paths[i]) for i in positions[:2])
    return f"{len(positions)} files ({examples}{', ...' * (len(positions) > 2)}) have"
