"""The teacher that a run names: loaded, and the same one when the run is resumed."""

from pathlib import Path

from polyak.errors import RefusedError
from polyak.model import load
from polyak.model.teacher import Teacher
from polyak.networks.preprocessing import Preprocessing
from polyak.rundir.checkpoints import digest


def load_teacher(
    path: str, preprocessing: Preprocessing, classes: tuple[str, ...], device: str
) -> Teacher:
    """Load the teacher that a recipe names.

    Args:
        path: a run or a model file.
        preprocessing: how the images are prepared that it will predict.
        classes: of the network that learns.
        device: where it computes.

    Raises:
        RefusedError: it is no model.
        UsageError: it knows other classes.
    """
    return Teacher(load(path, device=device), preprocessing, classes)


def digest_of(path: str | None) -> str:
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
    if digest_of(path) != before:
        raise RefusedError(
            "the teacher has changed since this run began",
            where=str(path),
            kept=str(run),
            then="bring its file back, or start a new run without --resume",
        )
