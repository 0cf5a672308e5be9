"""Tables on disk that are whole or absent, shared by runs, and never larger than was promised."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyak import machine
from polyak.errors import DiskError
from polyak.files import cache_folder, disk_error, read_json, sync, workspace
from polyak.locks import Lock

CAP = 16 << 30  # bytes of all remembered tables; the longest unused go first
_PIECE = 1 << 18  # numbers of a new table that are written at once
STALE = 86_400.0  # seconds after which an unfinished table is nobody's


@dataclass
class New:
    """A table in the making: fill `table`, set `failed`.

    Args:
        table: float32 (N, D).
        failed: (position, reason).
        done: batches that were filled before.
        unkept: why the disk does not remember it; "" where it does.
    """

    table: np.ndarray
    failed: list[tuple[int, str]] = field(default_factory=list)
    done: int = 0
    unkept: str = ""


def home() -> Path:
    """Name the folder of remembered features, below `polyak.files.cache_folder`.

    >>> home().name
    'features-1'
    """
    return cache_folder() / "features-1"  # the number changes when the format does


@contextlib.contextmanager
def owned(folder: Path, name: str, check: Callable[[], object]) -> Iterator[None]:
    """Wait until no other process makes the same table; `check` may raise to stop the wait.

    Where nothing can be written nobody waits: what is there can be read all the same.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / f"{name}.lock")
    except (OSError, DiskError):
        yield
        return
    try:
        while not lock.acquire():
            check()
            time.sleep(0.1)
        yield
    finally:
        lock.release()


def read(
    folder: Path, name: str, shape: tuple[int, int]
) -> tuple[np.ndarray, list[tuple[int, str]]] | None:
    """Open a table, read only, and what failed; a damaged one is removed.

    Returns:
        (float32 array mapped from disk, [(position, reason)]), or None where there is none.
    """
    whole = folder / name
    try:
        if not whole.is_dir():
            return None
        facts = read_json(whole / "facts.json")
        table = np.load(whole / "table.npy", mmap_mode="r", allow_pickle=False)
        if table.shape != shape or table.dtype != np.float32:
            raise ValueError("another shape")
        if _digest(table) != facts["digest"]:
            raise ValueError("another hash")
        failed = [(int(position), str(reason)) for position, reason in facts["failed"]]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        shutil.rmtree(whole, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):
        os.utime(whole)  # what was used last goes last
    return table, failed


def forget(folder: Path, name: str) -> None:
    """Remove a table that is no longer true."""
    shutil.rmtree(folder / name, ignore_errors=True)


@contextlib.contextmanager
def making(folder: Path, name: str, shape: tuple[int, int]) -> Iterator[New]:
    """Make a table on disk that other processes see when it is whole, or never.

    Where the disk refuses, the table is made in memory and not remembered. Where the work is
    stopped, what is `done` is set aside, and the next to make it goes on there.

    Raises:
        DiskError: the disk refused, and memory does not hold it either.
    """
    with contextlib.ExitStack() as stack:
        try:
            _check_room(folder, shape[0] * shape[1] * 4)
            part = stack.enter_context(workspace(folder / name))
            part.mkdir()
            new = _taken_up(folder / f".half-{name}", part, shape) or _fresh(part, shape)
        except (OSError, DiskError) as error:
            refused = disk_error(error, folder)
            if shape[0] * shape[1] * 4 > machine.memory():
                raise refused from error
            yield New(np.full(shape, np.nan, np.float32), unkept=_reason(refused))
            return
        try:
            yield new
        except BaseException:
            with contextlib.suppress(OSError):
                if new.done:
                    _seal(part, new)
                    part.rename(folder / f".half-{name}")
            raise
        try:
            _seal(part, new)
            with contextlib.suppress(OSError):  # another process was first, with the same numbers
                part.rename(folder / name)
                sync(folder)
        except OSError as error:
            new.unkept = _reason(disk_error(error, folder))


def _reason(error: Exception) -> str:
    return ": ".join(str(getattr(error, part, "")) for part in ("where", "why")) or str(error)


def _fresh(part: Path, shape: tuple[int, int]) -> New:
    left = shape[0] * shape[1]
    nothing = np.full(min(left, _PIECE), np.nan, "<f4")
    with (part / "table.npy").open("wb") as file:
        np.lib.format.write_array_header_2_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        # written, not mapped: a mapped page that finds no room later would kill the process
        for first in range(0, left, _PIECE):
            file.write(nothing[: left - first].data)
    return New(np.lib.format.open_memmap(part / "table.npy", "r+"))


def _taken_up(half: Path, part: Path, shape: tuple[int, int]) -> New | None:
    """Go on with what a stopped process set aside, if it is what that process left."""
    found = read(half.parent, half.name, shape)
    if found is None:
        return None
    done = read_json(half / "facts.json").get("done")
    part.rmdir()
    half.rename(part)
    table = np.lib.format.open_memmap(part / "table.npy", "r+")
    return New(table, found[1], done if isinstance(done, int) else 0)


def _seal(part: Path, new: New) -> None:
    """Write down what the table is, so that damage is noticed."""
    if isinstance(new.table, np.memmap):
        new.table.flush()
    facts = {"digest": _digest(new.table), "failed": new.failed, "done": new.done}
    (part / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    for file in (part / "table.npy", part / "facts.json", part):
        sync(file)


def _check_room(folder: Path, size: int) -> None:
    """Forget what was not used for longest, so that the new table fits."""
    found = [path for path in folder.iterdir() if path.is_dir()]
    for path in found:
        if (
            path.name.startswith((".part-", ".half-"))  # the former: of polyak 0.1
            and time.time() - path.stat().st_mtime > STALE
        ):
            shutil.rmtree(path, ignore_errors=True)
    whole = sorted((p for p in found if p.name[0] != "."), key=lambda p: p.stat().st_mtime)
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in whole}
    free = shutil.disk_usage(folder).free
    most = min(CAP, (free + sum(sizes.values())) * 9 // 10)
    if size > most:
        raise DiskError(
            "the features do not fit",
            where=str(folder),
            why=f"{size / 2**30:.1f} GiB are needed, {most / 2**30:.1f} GiB may be used",
            then="set XDG_CACHE_HOME to a larger disk, or choose --transfer all",
        )
    total = sum(sizes.values())
    for path in whole:
        if total + size <= most:
            break
        shutil.rmtree(path, ignore_errors=True)
        total -= sizes[path]


def _digest(table: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(table).data.cast("B")).hexdigest()
