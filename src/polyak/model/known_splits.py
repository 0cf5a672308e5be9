"""Which images the runs behind a model trained on, chose by and tested on, as `split.csv` says."""

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyak.data.dataset import Dataset
from polyak.errors import UsageError, shown
from polyak.files import read_json, read_yaml
from polyak.networks.weights import metadata_of

MODEL, TABLE = "model.safetensors", "split.csv"
SPLITS = ("train", "val", "test")  # an image that several runs know is of the first of them
MOST_MEMBERS = 1000
CHOSEN_ON = "chosen_on"  # of a joined file's header: the images that `polyak ensemble` chose by
_SOURCES = ("weights", "distill")  # choices of a recipe that bring another model's images in


@dataclass(frozen=True)
class KnownSplits:
    """Know the split that images had in training, the images told apart by their bytes.

    Args:
        digests: S16 (m,), sorted: a hash of each image's bytes.
        splits: int64 (m,), positions in SPLITS.
        unknown: what could not be found out, "" where all is known.

    >>> known = KnownSplits(np.zeros(1, "S16"), np.zeros(1, np.int64))
    >>> known.of(np.array([[0, 0], [0, 1]], np.uint64)).tolist()
    ['train', '']
    """

    digests: np.ndarray
    splits: np.ndarray
    unknown: str = ""

    def of(self, digests: np.ndarray) -> np.ndarray:
        """Name the split of each image, "" where no run had it: (n,).

        Args:
            digests: uint64 (n, 2), as a `Dataset` has them.
        """
        wanted, names = as_bytes(digests), np.array(["", *SPLITS], "U5")
        if not len(self.digests):
            return np.full(len(wanted), "", "U5")
        place = np.searchsorted(self.digests, wanted).clip(max=len(self.digests) - 1)
        return names[np.where(self.digests[place] == wanted, self.splits[place] + 1, 0)]


class _Unknown(Exception):
    """Why it is not known what a model was trained on."""


def known_splits(files: Sequence[str | Path], data: Dataset) -> KnownSplits:
    """Find out how the runs of some models split their images, and the runs that they came from.

    A model file in its run directory is the run. Models that `polyak ensemble` joined are looked up
    where they were, and so are a run's `--weights` and `--distill` where these are polyak's own.

    Args:
        files: run directories or model files.
        data: the images in question. A run of before `split.csv` had digests is known where they
            hold its images unchanged.
    """
    waiting, met = [file_of(name) for name in files], set()
    rows = [(np.zeros(0, "S16"), np.zeros(0, np.int64))]
    unknown = [] if waiting else ["the model was not loaded from a file"]
    while waiting:
        file = waiting.pop(0)
        if (place := file.resolve()) in met:
            continue
        met.add(place)
        try:
            header = _header(file)
            names = _joined(header)
            rows.append(_rows(file, data) if names is None else _chosen_on(header))
            names = list(_sources(file)) if names is None else names
        except _Unknown as error:
            unknown.append(str(error))
            continue
        for name in names:
            if (found := _find(name, file)) is None:
                unknown.append(f"{shown(name)} is not there any more")
            else:
                waiting.append(found)
    digests, splits = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.lexsort((splits, digests))
    kept, first = np.unique(digests[order], return_index=True)
    return KnownSplits(kept, splits[order][first], "; ".join(dict.fromkeys(unknown)))


def file_of(name: str | Path) -> Path:
    """Name the model file of a run directory; a file is one itself.

    >>> file_of("model.safetensors").name
    'model.safetensors'
    """
    return Path(name) / MODEL if Path(name).is_dir() else Path(name)


def as_bytes(digests: np.ndarray) -> np.ndarray:
    r"""Write digests, uint64 (n, 2), as bytes that sort and compare: S16 (n,).

    >>> as_bytes(np.array([[1, 0]], np.uint64))[0]
    np.bytes_(b'\x01')
    """
    return np.ascontiguousarray(digests, "<u8").view("S16").reshape(-1)


def as_text(digests: np.ndarray) -> str:
    """Write digests, uint64 (n, 2), as 32 hexadecimal digits each.

    >>> as_text(np.array([[1, 0]], np.uint64))
    '01000000000000000000000000000000'
    """
    return digests.astype("<u8").tobytes().hex()


def is_polyaks(file: Path) -> bool:
    """Tell whether a file is a polyak model, by what it says of itself.

    >>> is_polyaks(Path("no/such/file"))
    False
    """
    return file.is_file() and "polyak" in metadata_of(file)


def _header(file: Path) -> dict[str, Any]:
    try:
        header = json.loads(metadata_of(file)["polyak"]) if file.is_file() else {}
    except (ValueError, KeyError, RecursionError):
        header = {}
    return header if isinstance(header, dict) else {}


def _joined(header: dict[str, Any]) -> list[str] | None:
    """Name the models that `polyak ensemble` joined in a file; None for the file of a run."""
    members = header.get("members")
    # a run of independent members keeps their headers there
    if not isinstance(members, list) or not all(isinstance(name, str) for name in members):
        return None
    return members[:MOST_MEMBERS] or None


def _chosen_on(header: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Read which images chose among joined models: validation."""
    text = str(header.get(CHOSEN_ON, ""))
    try:
        parts = [_digest(text[i : i + 32]) for i in range(0, len(text), 32)]
        digests = np.frombuffer(b"".join(parts), "S16")
    except ValueError as error:
        raise _Unknown(f"the images that the joined models were chosen by: {error}") from error
    return digests, np.full(len(digests), SPLITS.index("val"))


def _digest(text: str) -> bytes:
    if len(text) != 32:
        raise ValueError("a digest is no 32 hexadecimal digits")
    return bytes.fromhex(text)


def _find(name: str, file: Path) -> Path | None:
    """Find a model by the name that was typed: from a folder above the one that tells, or here."""
    for folder in (*file.resolve().parents, Path()):
        with contextlib.suppress(OSError):  # no name of a file at all
            if (there := file_of(folder / name)).is_file():
                return there
    return None


def _sources(file: Path) -> Iterator[str]:
    """Name the polyak models that a run started from or learnt from."""
    config = file.parent / "config.yaml"
    try:
        recipe = read_yaml(config) if config.is_file() else {}
    except UsageError as error:
        raise _Unknown(f"{shown(config)} does not say what it started from: {error}") from error
    for choice in _SOURCES:
        name = recipe.get(choice)
        if isinstance(name, str) and name != "hub" and not _foreign(name, file, recipe):
            yield name


def _foreign(name: str, file: Path, recipe: dict[str, Any]) -> bool:
    """Tell whether weights are of another maker; of those no images are known, nor asked for."""
    if (found := _find(name, file)) is not None:
        return not is_polyaks(found)
    # polyak's own are safetensors, and not called after their network
    return Path(name).suffix in (".pth", ".pt") or Path(name).stem == recipe.get("model")


def _rows(file: Path, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Read how a run split its images: (S16 digests, positions in SPLITS)."""
    table = file.parent / TABLE
    if file.name != MODEL or not table.is_file():
        raise _Unknown(f"{shown(file)} lies outside of its run directory")
    try:
        with table.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
            split, path = header.index("split"), header.index("path")
            rows = (row for row in reader if row)
            if "digest" not in header:
                return _without_digests(file.parent, {r[path]: r[split] for r in rows}, data)
            digest, digests, splits = header.index("digest"), bytearray(), bytearray()
            for row in rows:  # of a million images no more is kept than their digests
                digests += _digest(row[digest])
                splits.append(SPLITS.index(row[split]))
        return np.frombuffer(bytes(digests), "S16"), np.frombuffer(splits, np.uint8).astype(int)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise _Unknown(f"{shown(table)} cannot be read: {error}") from error


def _without_digests(
    run: Path, splits: dict[str, str], data: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Take the digests of a run's images from data that holds them all, unchanged."""
    splits = {name.removeprefix("./"): split for name, split in splits.items()}
    own = data.take(np.array([name in splits for name in data.paths], bool))
    if own.fingerprint() not in _fingerprints(run):
        why = "is of an older polyak, without digests, and DATA does not hold its images unchanged"
        raise _Unknown(f"{shown(run / TABLE)} {why}")
    return as_bytes(own.digests), np.array([SPLITS.index(splits[name]) for name in own.paths])


def _fingerprints(run: Path) -> Iterator[str]:
    """Give the fingerprint of a run's data; of independent members each says it for itself."""
    for folder in (run, run / "members" / "0"):
        try:
            yield str(read_json(folder / "env.json")["data"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
