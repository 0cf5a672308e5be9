"""The run directory: created whole in one rename, owned by one process, never overwritten."""

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import yaml

from polyak.errors import BusyError, DiskError, RefusedError, UsageError, shown
from polyak.files import (
    disk_error,
    read_json,
    read_yaml,
    sweep,
    sync,
    workspace,
    write_atomic,
)
from polyak.locks import Lock
from polyak.report.records import records
from polyak.train import environment
from polyak.train import recipe as recipes

# what polyak 0.1, and safetensors in its hands, left behind when they were killed
LEFT = (".*.tmp", ".tmp??????")


class Run:
    """Own one run directory: its lock, its log, its metrics.

    Raises:
        BusyError: another process owns the directory.

    Args:
        path: an existing run directory.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._lock = lock(self.path)
        self.checkpoints = self.path / "checkpoints"
        self.predictions = self.path / "predictions"
        self.model = self.path / "model.safetensors"
        self._metrics = self.path / "metrics.jsonl"
        # what a killed process was writing; the lock says that nobody writes it now
        sweep(self.path.parent)
        for folder in (self.path, self.checkpoints, self.predictions):
            sweep(folder)
            for left in (left for pattern in LEFT for left in folder.glob(pattern)):
                if left.is_file():
                    left.unlink(missing_ok=True)
        self._cut(self.journal())

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

    def record(self, record: dict) -> None:
        """Append one record to metrics.jsonl; a validation also renews metrics.csv."""
        self._append(self._metrics, json.dumps(record) + "\n")
        if record["kind"] == "validation":
            self.write_table()

    def journal(self) -> int:
        """Length of metrics.jsonl on disk, bytes: what a checkpoint remembers."""
        if not self._metrics.exists():
            return 0
        sync(self._metrics)
        return self._metrics.stat().st_size

    def rewind(self, length: int) -> None:
        """Cut metrics.jsonl back to the length that a checkpoint remembers."""
        if self._metrics.exists():
            self._cut(min(length, self.journal()))
            self.write_table()

    def _cut(self, length: int) -> None:
        """Keep the whole lines among the first bytes of metrics.jsonl: a crash may have cut one."""
        if not length:
            return
        with self._metrics.open("rb") as file:
            whole = file.read(length).rfind(b"\n") + 1
        if whole < self._metrics.stat().st_size:
            os.truncate(self._metrics, whole)

    def records(self) -> list[dict]:
        """Read metrics.jsonl; a last line cut by a crash is left out."""
        return records(self.path)

    def write_table(self) -> None:
        """Write metrics.csv: a row a validation."""
        rows = [r for r in self.records() if r["kind"] == "validation"]
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


def create(out: str, name: str | None, default_name: str, files: dict[str, str]) -> Run:
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
            run = Run(_claim(whole, folder, name, slug(default_name)))
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


def find(out: str, name: str | None, asked: dict) -> Path | None:
    """Find the run that `--resume` means: by name, else the newest with these choices.

    An unfinished run that is named goes on where its data lies now; that it is the same is for the
    caller to check.

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
            differences = _differences(choices(path), asked)
            if set(differences) == {"data"} and not finished(path):
                return path
            if differences:
                raise UsageError(
                    "this run was started with other choices",
                    where=str(path),
                    why=", ".join(differences.values()),
                    then="leave them away, or choose another --name",
                )
    found = [p for p in found if not _differences(choices(p), asked)]
    if not asked:
        found = [p for p in found if not finished(p)] or (found if name else [])
    return max(found, key=lambda p: (p / "config.yaml").stat().st_mtime_ns, default=None)


def choices(path: Path) -> dict:
    """Read what the user asked for when the run began (from env.json)."""
    try:
        asked = read_json(path / "env.json")["asked"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return asked if isinstance(asked, dict) else {}


def moved(path: Path, data: str) -> bool:
    """Tell whether a run is taken up with data at another place than it began with."""
    return recipe(path).data != data


def write_place(path: Path, data: str) -> None:
    """Write down where a run's data lies now, so that the next resume finds it."""
    file = path / "config.yaml"
    line = yaml.safe_dump({"data": data}, allow_unicode=True, width=10**9).strip()
    rest = file.read_text(encoding="utf-8").splitlines()
    write_atomic(file, "\n".join(line if old.startswith("data:") else old for old in rest) + "\n")
    facts = read_json(path / "env.json")
    facts["asked"] = facts["asked"] | {"data": data}
    write_atomic(path / "env.json", json.dumps(facts, indent=1))


def _differences(then: dict, now: dict) -> dict[str, str]:
    # a different place, pace of saving or reader is no different run
    names = sorted((set(then) | set(now)) - {"out", "name", "save_every", "log"}) if now else []
    return {
        n: f"{n}: {then.get(n)} then, {now.get(n)} now" for n in names if then.get(n) != now.get(n)
    }


def finished(path: Path) -> bool:
    """Tell whether a run came to its end."""
    with contextlib.suppress(RefusedError):  # whoever continues it is told
        return any(record["kind"] == "end" for record in records(path)[-1:])
    return False


def tidy(path: Path, draw: Callable[[Run], None]) -> None:
    """Do what a finished run still lacks that was killed after its last record: order, its page."""
    with contextlib.suppress(BusyError, DiskError):
        run = Run(path)
        if not (path / "report.html").exists():
            draw(run)
        run.close()


def recipe(path: Path) -> recipes.Recipe:
    """Read a run's decided recipe.

    Raises:
        RefusedError: config.yaml is damaged.
    """
    try:
        return recipes.make(**read_yaml(path / "config.yaml"))
    except UsageError as error:
        raise RefusedError(
            "cannot continue this run",
            where=str(path / "config.yaml"),
            why=": ".join(str(part) for part in (error.what, error.where, error.why) if part),
            kept="everything in it",
            then="bring config.yaml back as it was, or start again under another --name",
        ) from error


def identity(path: Path) -> str:
    """Hash what makes a run what it is: its recipe, its data, its teacher.

    What the directory holds stands for itself, so that a later polyak finds the same.

    Raises:
        RefusedError: config.yaml or env.json is damaged.
    """
    recipe(path)
    page = {k: v for k, v in read_yaml(path / "config.yaml").items() if k not in recipes.ELSEWHERE}
    facts = environment.of(path)
    page |= {"data": facts["data"], "teacher": facts["teacher"]}
    return hashlib.sha256(json.dumps(page, sort_keys=True, default=str).encode()).hexdigest()


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
