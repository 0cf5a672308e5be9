"""What a run began with: machine, software, data; and whether it still is so."""

import json
from pathlib import Path

from polyak import machine
from polyak.data.dataset import Dataset
from polyak.errors import DataError, RefusedError
from polyak.recipe.machine import Machine
from polyak.recipe.recipe import Recipe, asked


def describe(
    recipe: Recipe, dataset: Dataset, on: Machine, processes: int = 1, teacher: str = ""
) -> str:
    """Describe what was asked, data, machine and software, for env.json.

    Args:
        recipe: what the user asked for.
        dataset: all usable images.
        on: where the run computes.
        processes: that compute.
        teacher: hash of the model that it is distilled from, or nothing.
    """
    facts = {
        "asked": asked(recipe),
        "data": dataset.fingerprint(),
        "machine": machine.describe(),
        "device": on.device,
        "precision": on.precision._asdict(),
        "threads": on.threads._asdict(),
        "processes": processes,
        "teacher": teacher,
    }
    return json.dumps(facts, indent=1)


def of(path: Path) -> dict:
    """Read env.json of a run.

    Raises:
        RefusedError: it does not say what the run began with.
    """
    file = path / "env.json"
    try:
        facts = json.loads(file.read_text())
        machine.Threads(**facts["threads"])
        return facts | {"precision": dict(facts["precision"]), "data": str(facts["data"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError("cannot continue", where=str(file), why="damaged") from error


def check_unchanged(path: Path, data: Dataset) -> None:
    """Refuse to go on with other data than a run began with.

    Raises:
        DataError: the data has changed.
        RefusedError: the run directory does not say what it began with.
    """
    if of(path)["data"] != data.fingerprint():
        raise DataError(
            "the data has changed since this run began",
            where=str(data.root),
            kept=str(path),
            then="bring the files back, or start a new run without --resume",
        )
