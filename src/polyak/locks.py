"""Locks between processes: the system's own on an open file, so that none outlives its owner."""

import contextlib
import errno
import os
import platform
import weakref
from pathlib import Path

from polyak.files import disk_error

NAME = 100  # bytes of an owner's name that are read back
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


class Lock:
    """Own a file among processes until it is released, or until this process dies, however it does.

    Nothing is left behind that could block: the file itself stays, and means nothing. Where system
    or disk know no locks, everybody owns everything.

    Args:
        path: made when missing; its folder must exist.

    Raises:
        DiskError: it cannot be made.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "run.lock"
    >>> first, second = Lock(file), Lock(file)
    >>> first.acquire(), second.acquire(), second.owner().startswith(f"process {os.getpid()} on ")
    (True, False, True)
    >>> first.release(); second.acquire()
    True
    """

    def __init__(self, path: Path):
        self.path = path
        # no link is followed: what is locked is also written to
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._handle = os.open(path, flags, 0o666)
        except OSError as error:
            raise disk_error(error, path) from error
        _open.add(self)

    def acquire(self) -> bool:
        """Try to own the file now; say whether this process does.

        Raises:
            DiskError: the disk refused.
        """
        from filelock import lock_descriptor

        try:
            if not lock_descriptor(self._handle, blocking=False):
                return False
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                return True
            raise disk_error(error, self.path) from error
        with contextlib.suppress(OSError):  # a full disk: who owns it is a courtesy
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            # what Windows locks is the first byte, which nobody else can read then
            name = f" process {os.getpid()} on {platform.node()}"
            os.write(self._handle, name.encode(errors="surrogateescape"))
        return True

    def owner(self) -> str:
        """Name the process that owns the file, "" where it cannot be read."""
        for first in (0, 1):
            with contextlib.suppress(OSError):
                os.lseek(self._handle, first, os.SEEK_SET)
                return os.read(self._handle, NAME).decode(errors="replace").strip()
        return ""

    def release(self) -> None:
        """Let others own the file; again is harmless."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


_open: weakref.WeakSet[Lock] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child that outlives its parent would keep the parent's locks."""
    for lock in _open:
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
