"""What a run began with: machine, software, data; and whether it still is so."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyak import machine
from polyak.data.dataset import Dataset
from polyak.errors import DataError, RefusedError
from polyak.files import read_json
from polyak.networks.origin import Origin, origin_facts
from polyak.recipe.machine import Machine
from polyak.recipe.recipe import Recipe
from polyak.recipe.written import asked
from polyak.rundir.checks import fields, mapping, text, whole

_THREADS = dict.fromkeys(machine.Threads._fields, whole(1, 1024))
_PRECISION = {"name": text("float32|bfloat16"), "reason": text("(?s).*")}
_CHECKS = {
    "asked": mapping,
    "data": text(".+"),
    "threads": fields(_THREADS),
    "precision": fields(_PRECISION),
}


def describe(
    recipe: Recipe,
    dataset: Dataset,
    on: Machine,
    processes: int = 1,
    teacher: str = "",
    origins: Sequence[Origin | None] = (),
) -> str:
    """Describe what was asked, data, machine and software, for env.json.

    Args:
        recipe: what the user asked for.
        dataset: all usable images.
        on: where the run computes.
        processes: that compute.
        teacher: hash of the model that it is distilled from, or nothing.
        origins: of the starting weights, those of the run's own network first.
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
    facts |= origin_facts(*origins)
    return json.dumps(facts, indent=1)


def of(path: Path) -> dict[str, Any]:
    """Read env.json of a run.

    Raises:
        RefusedError: it does not say what the run began with.
    """
    file = path / "env.json"
    try:
        facts = read_json(file)
        fields(_CHECKS, dict.fromkeys(facts, lambda *_: None))(facts, "it")
    except (OSError, ValueError, TypeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        then = "bring it back as it was, or start again under another --name"
        raise RefusedError(
            "cannot continue", where=str(file), why=why, kept="the run as it is", then=then
        ) from error
    return {"teacher": ""} | facts


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
