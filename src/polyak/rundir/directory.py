"""The run directory: created whole in one rename, owned by one process, never overwritten."""

import csv
import errno
import io
import json
import os
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path

import yaml

from polyak.errors import BusyError, UsageError, shown
from polyak.files import disk_error, sync, write_atomic
from polyak.locks import Lock
from polyak.rundir.events import EndEvent, Event, ValidationEvent
from polyak.rundir.journal import NAME, records


class RunDirectory:
    r"""Own one run directory: its lock, its log, its metrics.

    Raises:
        BusyError: another process owns the directory.

    Args:
        path: an existing run directory.

    >>> run = create(tempfile.mkdtemp(), "mine", "", {"config.yaml": "data: digits"})
    >>> run.log("hello"); (run.path / "log.txt").read_text(); run.close()
    'hello\n'
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._lock = lock(self.path)
        self.checkpoints = self.path / "checkpoints"
        self.predictions = self.path / "predictions"
        self.model = self.path / "model.safetensors"
        self._metrics = self.path / NAME
        # what a killed process was writing; the lock says that nobody writes it now
        for folder in (self.path, self.checkpoints, self.predictions):
            for left in folder.glob(".*.tmp"):
                left.unlink(missing_ok=True)

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

    def rewind(self, length: int) -> None:
        """Cut metrics.jsonl back to the length that a checkpoint remembers."""
        if self._metrics.exists():
            os.truncate(self._metrics, length)
            self.write_table()

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
    whole = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        whole = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
        whole.chmod(0o777 & ~_umask())
        for part in ("checkpoints", "predictions"):
            (whole / part).mkdir()
        for file, text in files.items():
            (whole / file).write_text(text, encoding="utf-8", errors="surrogateescape")
        run = RunDirectory(_claim(whole, folder, name, slug(default_name)))
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        if whole is not None and whole.exists():
            shutil.rmtree(whole, ignore_errors=True)
    sync(folder)
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


def find(out: str, name: str | None, asked: dict) -> Path | None:
    """Find the run that `--resume` means: by name, else the newest with these choices.

    Args:
        out: folder of run directories.
        name: the user's own name, or None.
        asked: the choices on the command line; empty means any unfinished run.

    Raises:
        UsageError: the run was started with other choices.
    """
    folder = Path(out)
    found = [p for p in folder.iterdir() if _is_run(p)] if folder.is_dir() else []
    if name:
        found = [p for p in found if p.name == slug(name)]
        for path in found:
            if differences := _differences(choices(path), asked):
                raise UsageError(
                    "this run was started with other choices",
                    where=str(path),
                    why=", ".join(differences),
                    then="leave them away, or choose another --name",
                )
    found = [p for p in found if not _differences(choices(p), asked)]
    if not asked:
        found = [p for p in found if not finished(p)] or (found if name else [])
    return max(found, key=lambda p: (p / "config.yaml").stat().st_mtime_ns, default=None)


def choices(path: Path) -> dict:
    """Read what the user asked for when the run began (from env.json)."""
    try:
        asked = json.loads((path / "env.json").read_text())["asked"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return asked if isinstance(asked, dict) else {}


def _differences(then: dict, now: dict) -> list[str]:
    # a different place, pace of saving or reader is no different run
    names = sorted((set(then) | set(now)) - {"out", "name", "save_every", "log"}) if now else []
    return [
        f"{n}: {then.get(n)} then, {now.get(n)} now" for n in names if then.get(n) != now.get(n)
    ]


def finished(path: Path) -> bool:
    """Tell whether a run came to its end."""
    return any(record["kind"] == EndEvent.kind for record in records(path)[-1:])


def config(path: Path) -> dict:
    """Read a run's decided recipe."""
    return yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))


def _is_run(path: Path) -> bool:
    return not path.name.startswith(".") and (path / "config.yaml").is_file()


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


def slug(name: str) -> str:
    r"""Make a run's name fit for every file system, Korean letters and all.

    >>> slug("../고양이 & dogs\n"), slug("...")
    ('고양이-dogs', 'run')
    """
    text = unicodedata.normalize("NFC", name)
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:80] or "run"


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
