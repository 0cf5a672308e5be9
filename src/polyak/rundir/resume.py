"""Which run `--resume` means, and whether it is still what it was when it began."""

import contextlib
import hashlib
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import yaml

from polyak.errors import RefusedError, UsageError
from polyak.files import read_json, read_yaml, write_atomic
from polyak.recipe import recipe as recipes
from polyak.recipe.names import renamed
from polyak.rundir import environment
from polyak.rundir.events import EndEvent
from polyak.rundir.records import records


def find(out: str, name: str | None, asked: dict[str, Any]) -> Path | None:
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


def choices(path: Path) -> dict[str, Any]:
    """Read what the user asked for when the run began (from env.json)."""
    try:
        asked = read_json(path / "env.json")["asked"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return renamed(asked) if isinstance(asked, dict) else {}


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


def _differences(then: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    # a different place, pace of saving or reader is no different run
    names = sorted((set(then) | set(now)) - {"out", "name", "save_every", "log"}) if now else []
    return {
        n: f"{n}: {then.get(n)} then, {now.get(n)} now" for n in names if then.get(n) != now.get(n)
    }


def finished(path: Path) -> bool:
    """Tell whether a run came to its end."""
    with contextlib.suppress(RefusedError):  # whoever continues it is told
        return any(record["kind"] == EndEvent.kind for record in records(path)[-1:])
    return False


def recipe(path: Path) -> recipes.Recipe:
    """Read a run's resolved recipe, in the words of what may be asked.

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
    config = read_yaml(path / "config.yaml")
    facts = environment.of(path)
    found = {name: value for name, value in config.items() if name not in recipes.ELSEWHERE}
    found |= {"data": facts["data"], "teacher": facts["teacher"]}
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


def _is_run(path: Path) -> bool:
    return not path.name.startswith(".") and (path / "config.yaml").is_file()


def slug(name: str) -> str:
    r"""Make a run's name fit for every file system, Korean letters and all.

    >>> slug("../고양이 & dogs\n"), slug("...")
    ('고양이-dogs', 'run')
    """
    text = unicodedata.normalize("NFC", name)
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:80] or "run"
