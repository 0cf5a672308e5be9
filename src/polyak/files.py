"""Writing that survives a crash: a file is either the old one, whole, or the new one, whole."""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from polyak.errors import DiskError, UsageError

LARGEST_YAML = 1 << 20  # bytes; a recipe is a page, not a data file
# full, over quota, read-only, broken, closed to us; and an --out that cannot be a folder
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM}
_DISK |= {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}  # some network file systems


def write_atomic(path: Path, write: bytes | str | Callable[[Path], object]) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new, never a part.

    Args:
        path: where the file goes; its directory must exist.
        write: the content, or a function that writes it to the temporary path it is given, which
            has the same name in a hidden folder.

    Raises:
        DiskError: the disk is full, read-only, broken, or closed to us; the old file stands.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> write_atomic(target, "whole"); target.read_text()
    'whole'
    """
    path = Path(path)
    try:
        with workspace(path) as temporary:
            if callable(write):
                write(temporary)
            else:
                temporary.write_bytes(write.encode() if isinstance(write, str) else write)
            sync(temporary)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
            sync(path.parent)
    except Exception as error:
        raise disk_error(error, path) from error


@contextlib.contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Lend a path of the same name in a hidden folder beside `path`, to write there and to move.

    Libraries write beside the file that they are given, under names of their own; here those stay
    in the folder, which goes at the end. A killed process leaves it behind, unlocked: it goes when
    the next workspace is opened in that place, or by `sweep`.

    Raises:
        OSError: the folder cannot be made.

    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with workspace(target) as temporary:
    ...     _ = temporary.write_text("whole"); _ = temporary.rename(target)
    >>> [file.name for file in target.parent.iterdir()]
    ['a.txt']
    """
    sweep(path.parent)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=".polyak-", suffix=".tmp", dir=path.parent))
        if (handle := _hold(folder)) is not None:  # a sweeper may be faster than our lock
            break
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the workspaces that killed processes left in a folder; living ones hold a lock.

    >>> sweep(Path(tempfile.mkdtemp()))
    """
    for left in folder.glob(".polyak-*.tmp"):
        with contextlib.suppress(OSError):
            handle = None if left.is_symlink() else _hold(left, alive=False)
            if handle is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(handle)


_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


def _hold(folder: Path, alive: bool = True) -> int | None:
    """Lock a workspace for the life of this process; None where another holds or removed it."""
    try:
        handle = os.open(folder / ".polyak.lock", _LOCK_FLAGS, 0o600)
    except FileNotFoundError:
        return None
    from filelock import lock_descriptor

    try:
        owned = lock_descriptor(handle, blocking=False)
    except OSError as error:
        owned = alive and error.errno in NO_LOCKS_HERE
    if not owned or os.fstat(handle).st_nlink == 0:
        os.close(handle)
        return None
    return handle


def cache_folder() -> Path:
    """Name the folder for what can be computed again, where this system keeps such things.

    On Linux that is $XDG_CACHE_HOME/polyak, or ~/.cache/polyak.

    >>> "polyak" in cache_folder().parts
    True
    """
    from platformdirs import user_cache_path

    return user_cache_path("polyak", appauthor=False)


def sync(path: Path) -> None:
    """Push a file or a directory to the disk itself.

    >>> import tempfile
    >>> sync(Path(tempfile.mkdtemp()))
    """
    posix = hasattr(os, "O_DIRECTORY")
    if not posix and path.is_dir():  # Windows opens no directories
        return
    handle = os.open(path, os.O_RDONLY if posix else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder: Path) -> None:
    """Make sure, before hours of work, that files can be made in a folder; make it when missing.

    Raises:
        DiskError: nothing can be written there.

    >>> check_writable(Path(tempfile.mkdtemp()) / "runs")
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        raise disk_error(error, folder) from error


def disk_error(error: Exception, path: Path) -> Exception:
    """Turn the system's refusal into one line with exit code 74; anything else stays as it is.

    safetensors reports the system's refusals as its own errors, the number in the message.

    >>> line = str(disk_error(OSError(errno.ENOSPC, "No space left on device"), Path("a")))
    >>> line[:71]
    'cannot write: a: No space left on device. Kept: what was there before. '
    """
    number = getattr(error, "errno", None)
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(found[1])
    if number not in _DISK:
        return error
    return DiskError(
        "cannot write",
        where=str(path),
        why=os.strerror(number),
        kept="what was there before",
        then="free space or choose another --out, then add --resume",
    )


def read_text(path: Path, most: int = 64 << 20) -> str:
    """Read a text file from outside whole, unless it is larger than anything of its kind.

    Args:
        path: UTF-8.
        most: bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger, or not UTF-8.

    >>> read_text(Path(__file__), most=10)
    Traceback (most recent call last):
    ...
    ValueError: files.py is larger than 10 bytes
    """
    with path.open("rb") as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise ValueError(f"{path.name} is larger than {most:,} bytes")
    return text.decode()


def read_json(path: Path) -> Any:
    """Read JSON from outside.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, too large, nested too deeply, or has a number that is not finite.

    >>> page = Path(tempfile.mkdtemp()) / "a.json"
    >>> _ = page.write_text("[" * 10**5)
    >>> read_json(page)
    Traceback (most recent call last):
    ...
    ValueError: a.json is nested too deeply
    """
    try:
        return json.loads(read_text(path), parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML page of names and values from outside; nothing in it is executed or unfolded.

    Raises:
        UsageError: no file, too large, not YAML, or no page of names and values.

    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "config.yaml"
    >>> _ = page.write_text("epochs: 2")
    >>> read_yaml(page)
    {'epochs': 2}
    """
    import yaml

    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_YAML + 1)
        if len(text) > LARGEST_YAML:
            raise UsageError("this is no recipe", where=str(path), why="larger than 1 MiB")
        if b"*" in text or b"&" in text:  # aliases can unfold a page into gigabytes
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                if isinstance(event, yaml.AliasEvent):
                    raise UsageError("YAML aliases are not allowed in a recipe", where=str(path))
        found = yaml.safe_load(text)
    except OSError as error:
        raise UsageError("cannot read", where=str(path), why=error.strerror or "") from error
    except UsageError:
        raise
    except Exception as error:  # months of 99 and the like find all that PyYAML's readers raise
        why = str(error).replace("\n", " ")[:200]
        raise UsageError("this is not YAML", where=str(path), why=why) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UsageError("this is no recipe", where=str(path), why="expected lines 'option: value'")
    return found
