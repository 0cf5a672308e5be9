"""The run directory: created whole in one rename, owned by one process, never overwritten."""

import contextlib
import csv
import errno
import io
import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from polyak.errors import BusyError, DiskError, shown
from polyak.files import disk_error, sweep, sync, workspace, write_atomic
from polyak.locks import Lock
from polyak.rundir.events import Event, ValidationEvent
from polyak.rundir.journal import NAME
from polyak.rundir.records import records
from polyak.rundir.resume import identity, slug

# what polyak 0.1, and safetensors in its hands, left behind when they were killed
LEFT = (".*.tmp", ".tmp??????")


class RunDirectory:
    r"""Own one run directory: its lock, its log, its metrics.

    Raises:
        BusyError: another process owns the directory.

    Args:
        path: an existing run directory.

    >>> import tempfile
    >>> run = create(tempfile.mkdtemp(), "mine", "", {"config.yaml": "data: digits"})
    >>> run.log("hello"); (run.path / "log.txt").read_text(); run.close()
    'hello\n'
    """

    def __init__(self, path: Path):
        self.path: Path = Path(path)
        self._lock = lock(self.path)
        self.checkpoints: Path = self.path / "checkpoints"
        self.predictions: Path = self.path / "predictions"
        self.model: Path = self.path / "model.safetensors"
        self._metrics = self.path / NAME
        # what a killed process was writing; the lock says that nobody writes it now
        sweep(self.path.parent)
        for folder in (self.path, self.checkpoints, self.predictions):
            sweep(folder)
            for left in (left for pattern in LEFT for left in folder.glob(pattern)):
                if left.is_file():
                    left.unlink(missing_ok=True)
        self._cut(self.journal_length())

    @cached_property
    def identity(self) -> str:
        """What tells this run from others, see `identity`."""
        return identity(self.path)

    def close(self) -> None:
        """Give the directory back; the system does the same when the process dies."""
        self._lock.release()

    def log(self, line: str) -> None:
        """Append one line to log.txt."""
        self._append(self.path / "log.txt", shown(line) + "\n")

    def append(self, event: Event) -> None:
        """Append one event to metrics.jsonl; a validation also renews metrics.csv."""
        self._append(self._metrics, json.dumps(event.as_json()) + "\n")
        if isinstance(event, ValidationEvent):
            self.write_table()

    def journal_length(self) -> int:
        """Length of metrics.jsonl on disk, bytes: what a checkpoint remembers."""
        if not self._metrics.exists():
            return 0
        sync(self._metrics)
        return self._metrics.stat().st_size

    def ends_line(self, length: int) -> bool:
        """Tell whether a line of metrics.jsonl ends with its first so many bytes."""
        with self._metrics.open("rb") as file:
            file.seek(max(0, length - 1))
            return not length or file.read(1) == b"\n"

    def rewind(self, length: int) -> None:
        """Cut metrics.jsonl back to the length that a checkpoint remembers."""
        if self._metrics.exists():
            self._cut(min(length, self.journal_length()))
            self.write_table()

    def _cut(self, length: int) -> None:
        """Keep the whole lines among the first bytes of metrics.jsonl: a crash may have cut one."""
        if not length:
            return
        with self._metrics.open("rb") as file:
            whole = file.read(length).rfind(b"\n") + 1
        if whole < self._metrics.stat().st_size:
            os.truncate(self._metrics, whole)

    def write_table(self) -> None:
        """Write metrics.csv: a row a validation."""
        rows = [r for r in records(self.path) if r["kind"] == ValidationEvent.kind]
        names = list(dict.fromkeys(name for row in rows for name in row if name != "kind"))
        text = io.StringIO()
        table = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_atomic(self.path / "metrics.csv", text.getvalue())

    def _append(self, path: Path, text: str) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise disk_error(error, path) from error


def create(out: str, name: str | None, default_name: str, files: dict[str, str]) -> RunDirectory:
    """Create `out/name` with its first files in one rename, numbered when the name is the default.

    Args:
        out: folder of run directories; made when missing.
        name: the user's own name, or None.
        default_name: what to call it otherwise.
        files: file name -> text, all of which stand there from the first moment.

    Raises:
        BusyError: the user's own name is taken.
        DiskError: nothing can be written there.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with workspace(folder / "new") as whole:
            for part in ("checkpoints", "predictions"):
                (whole / part).mkdir(parents=True)
            for file, text in files.items():
                (whole / file).write_text(text, encoding="utf-8", errors="surrogateescape")
            run = RunDirectory(_claim(whole, folder, name, slug(default_name)))
        sync(folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    return run


def _claim(whole: Path, folder: Path, name: str | None, default: str) -> Path:
    number = 1
    while True:
        final = folder / (slug(name) if name else default if number == 1 else f"{default}-{number}")
        try:
            # onto a directory that is not empty, rename fails: the check and the claim are one act
            whole.rename(final)
            return final
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            if name:
                raise BusyError(
                    "this run exists",
                    where=str(final),
                    kept="everything in it",
                    then="add --resume to continue it, or choose another --name",
                ) from error
            number += 1


def tidy(path: Path, draw: Callable[[RunDirectory], None]) -> None:
    """Do what a finished run still lacks that was killed after its last record: order, its page."""
    with contextlib.suppress(BusyError, DiskError):
        run = RunDirectory(path)
        if not (path / "report.html").exists():
            draw(run)
        run.close()


def lock(path: Path) -> Lock:
    """Lock a run directory for the life of this process; kill -9 releases it too.

    Raises:
        BusyError: a living process owns it.
        DiskError: nothing can be written there.
    """
    found = Lock(path / "run.lock")
    if found.acquire():
        return found
    owner = found.owner()
    found.release()
    raise BusyError(
        "another process is training in this run directory",
        where=str(path),
        why=owner,
        kept="everything in it",
        then="wait for it, or choose another --name",
    )
