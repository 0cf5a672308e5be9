"""Ways to run a small job and to compare what came of it."""

import contextlib
import hashlib
import itertools
import json
from pathlib import Path

from safetensors.torch import save_file

from polyak import tensor_file
from polyak.jobs import stream
from polyak.rundir import checkpoints, records

TIME = ("seconds", "images_per_second", "wait_share", "spent", "model", "run")


def train(recipe, **options):
    """Train, and give the JSON form of every event."""
    with contextlib.closing(stream(recipe, **options)) as events:
        for event in events:
            yield event.as_json()


def run(recipe, **options) -> dict:
    """Train to the end; return the JSON form of the last event."""
    *_, end = train(recipe, **options)
    return end


def steps(recipe, number, **options):
    """Train for a number of steps and leave without a word, as kill -9 would."""
    with contextlib.closing(train(recipe, **options)) as told:
        list(itertools.islice((r for r in told if r["kind"] == "step"), number))


def resumes_exactly(job, out: Path, number: int, **choices) -> None:
    """Leave a run after some steps, resume it, and compare it with one that was never left."""
    run(job(name="whole", **choices))
    steps(job(**choices), number)
    run(job(**choices), resume=True)
    whole, resumed = out / "whole", out / "job"
    assert results(resumed) == results(whole)
    assert timeless(records.records(resumed)) == timeless(records.records(whole))


def results(folder: Path) -> dict[str, str]:
    """Hash what must not depend on how often a run was interrupted."""
    said = sorted(f"predictions/{file.name}" for file in (folder / "predictions").iterdir())
    names = ["model.safetensors", *said]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def listed(folder: Path) -> set[str]:
    """Name all files and folders below a run directory, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def as_before(folder: Path) -> None:
    """Write the checkpoints of a folder as polyak 0.1 did: their hashes in the manifest alone."""
    entries = []
    for path in reversed(checkpoints.found(folder)):
        with tensor_file.opened(path) as stored:
            tensors = {name: stored.tensor(name) for name in stored.shapes}
            tree = json.dumps(stored.facts["state"])
        save_file(tensors, path, {"polyak": tree})
        step = int(path.stem.removeprefix("step-"))
        entries.append({"file": path.name, "step": step, "sha256": checkpoints.digest(path)})
    (folder / "manifest.json").write_text(json.dumps(entries))


def timeless(told: list[dict]) -> list[dict]:
    """Records without what the clock or the place says."""
    return [{k: v for k, v in r.items() if k not in TIME} for r in told if r["kind"] != "start"]
