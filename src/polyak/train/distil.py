"""The teacher that a run names: loaded, and the same one when the run is resumed."""

from pathlib import Path

from polyak.errors import RefusedError
from polyak.model import load
from polyak.model.teacher import Teacher
from polyak.networks.preprocessing import Preprocessing
from polyak.train.checkpoint import digest


def teacher(
    path: str | None, preprocessing: Preprocessing, classes: tuple[str, ...], device: str
) -> Teacher | None:
    """Load the teacher that a recipe names, if it names one.

    Raises:
        RefusedError: it is no model.
        UsageError: it knows other classes.
    """
    return None if path is None else Teacher(load(path, device=device), preprocessing, classes)


def mark(path: str | None) -> str:
    """Hash the teacher's file, so that a resumed run has the same; nothing where there is none."""
    if path is None:
        return ""
    file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
    return digest(file) if file.is_file() else ""


def check_unchanged(path: str | None, before: str, run: Path) -> None:
    """Refuse to go on with another teacher than a run began with.

    Raises:
        RefusedError: its file has changed.
    """
    if mark(path) != before:
        raise RefusedError(
            "the teacher has changed since this run began",
            where=str(path),
            kept=str(run),
            then="bring its file back, or start a new run without --resume",
        )
