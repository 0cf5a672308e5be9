"""Wrong labels, found and left out: flips that are known, on sets whose labels are good.

    python benchmarks/study_clean.py DATA --out benchmarks/results/clean.json

DATA holds clothing10 and eurosat10 with train/ and test/. A seeded share of the training labels is
flipped to another class; `polyak clean` looks for them, without knowing how many. Precision and
recall are of the issue `label`; accuracy and NLL are those of a probe on the test images: trained
on the flipped labels, without what was found (`--exclude`), and on the good labels. Results are
written after every case: an interrupted run goes on where it was.
"""

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from polyak import keys, machine
from polyak.clean import write_issues
from polyak.data import find, scan
from polyak.data.table import write_table
from polyak.jobs import stream
from polyak.jobs.clean import clean
from polyak.recipe import make

SETS = {"clothing10": 160, "eurosat10": 96}  # pixels
SHARES = (0.05, 0.10, 0.20)


def flipped(data, share: float, seed: int) -> np.ndarray:
    """Flip a share of the labels, each to any other class alike."""
    draw = keys.uniform("bench", seed, 0, np.arange(len(data)))
    at = np.flatnonzero(draw < share)
    shift = 1 + (keys.uniform("bench", seed, 1, at) * (len(data.classes) - 1)).astype(int)
    labels = data.labels.copy()
    labels[at] = (labels[at] + shift) % len(data.classes)
    return labels


def table(folder: Path, name: str, data, labels: np.ndarray, split: str = "") -> list[tuple]:
    """Give the rows of a table: path, label, split."""
    parts = [split] * len(data) if split else data.splits.tolist()
    names = (data.classes[label] for label in labels)
    return list(zip((f"data/{path}" for path in data.paths), names, parts, strict=True))


def trained(file: Path, size: int, folder: Path, exclude: Path | None = None) -> dict:
    """Train a probe, and give its figures on the test images."""
    recipe = make(
        data=str(file), size=size, out=str(folder / "runs"), exclude=exclude and str(exclude)
    )
    *_, end = stream(recipe)
    assert end.evaluation["split"] == "test"
    return {name: end.evaluation[name]["value"] for name in ("accuracy", "nll")}


def case(source: Path, size: int, share: float, seed: int) -> dict:
    """Flip, find, leave out, train."""
    data = scan(find(source))
    train, test = data.part("train"), data.part("test")
    labels = flipped(train, share, seed)
    wrong = {f"data/{train.paths[i]}" for i in np.flatnonzero(labels != train.labels)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").symlink_to(source)
        noisy = table(folder, "noisy", train, labels, "train")
        held = table(folder, "test", test, test.labels, "test")
        header = ("path", "label", "split")
        write_table(folder / "search.csv", header, [(*row[:2], "") for row in noisy])
        write_table(folder / "noisy.csv", header, [*noisy, *held])
        good = table(folder, "good", train, train.labels, "train")
        write_table(folder / "good.csv", header, [*good, *held])
        steps = clean(make(data=str(folder / "search.csv"), size=size))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found = end.value
                break
        suspects = [one for one in found.issues if one.kind == "label"]
        write_issues(folder / "issues.csv", suspects)
        hits = len(wrong & {one.path for one in suspects})
        return {
            "flipped": len(wrong), "found": len(suspects), "right": hits,
            "precision": hits / max(1, len(suspects)), "recall": hits / max(1, len(wrong)),
            "flipped labels": trained(folder / "noisy.csv", size, folder),
            "without what was found": trained(
                folder / "noisy.csv", size, folder, folder / "issues.csv"
            ),
            "good labels": trained(folder / "good.csv", size, folder),
        }  # fmt: skip


def main(options) -> None:
    """Run what is missing, case by case."""
    results = json.loads(options.out.read_text()) if options.out.exists() else {"cases": {}}
    results["machine"] = machine.describe()
    for seed, name, share in product(options.seeds, SETS, SHARES):
        key = f"{name}/{share}/{seed}"
        if key not in results["cases"]:
            results["cases"][key] = case(options.data / name, SETS[name], share, seed)
            print(key, results["cases"][key], flush=True)
            options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/clean.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    main(parser.parse_args())
