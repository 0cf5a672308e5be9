"""What a run began with: machine, software, data; and whether it still is so."""

import json
from dataclasses import dataclass
from pathlib import Path

from polyak import machine
from polyak import precision as formats
from polyak.data.dataset import Dataset
from polyak.errors import DataError, RefusedError
from polyak.files import read_json
from polyak.train.checks import fields, page, text, whole
from polyak.train.distributed import World

_THREADS = dict.fromkeys(machine.Threads._fields, whole(1, 1024))
_PRECISION = {"name": text("float32|bfloat16"), "reason": text("(?s).*")}
_CHECKS = {
    "asked": page,
    "data": text(".+"),
    "threads": fields(_THREADS),
    "precision": fields(_PRECISION),
}


@dataclass(frozen=True)
class Machine:
    """Say where and how the network computes."""

    device: str
    precision: formats.Precision
    threads: machine.Threads


def describe(data: Dataset, where: Machine, world: World, asked: dict, teacher: str = "") -> str:
    """Describe machine, software, data and the user's own words, for env.json."""
    facts = {
        "asked": asked,
        "data": data.fingerprint(),
        "machine": machine.describe(),
        "device": where.device,
        "precision": where.precision._asdict(),
        "threads": where.threads._asdict(),
        "processes": world.size,
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
