"""Ways to run a small job and to compare what came of it."""

import hashlib
import itertools
from pathlib import Path

from polyak.train import train

TIME = ("seconds", "images_per_second", "wait_share", "spent", "model", "run")


def run(recipe, **how) -> dict:
    """Train to the end; return the last record."""
    *_, end = train(recipe, **how)
    return end


def steps(recipe, number, **how):
    """Train for a number of steps and leave without a word, as kill -9 would."""
    records = train(recipe, **how)
    list(itertools.islice((r for r in records if r["kind"] == "step"), number))
    records.close()


def results(folder: Path) -> dict[str, str]:
    """Hash what must not depend on how often a run was interrupted."""
    said = sorted(f"predictions/{file.name}" for file in (folder / "predictions").iterdir())
    names = ["model.safetensors", *said]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def timeless(records: list[dict]) -> list[dict]:
    """Records without what the clock or the place says."""
    return [{k: v for k, v in r.items() if k not in TIME} for r in records if r["kind"] != "start"]
