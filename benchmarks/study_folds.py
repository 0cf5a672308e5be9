"""What folds bring on small sets: beside a validation part, and as ensemble, soup and refit.

    python benchmarks/study_folds.py DATA --out benchmarks/results/folds.json

DATA holds hymenoptera, clothing10, eurosat10 and magnetic_tile6. Of each set some images of every
class train and the others test, drawn by three seeds. Figures are of the test images; `oof` is what
the folds say of themselves, and `covered` how often its interval over folds holds the test figure.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np

import polyak
from polyak import keys, machine
from polyak.data import find, scan
from polyak.jobs.command import Command
from polyak.jobs.final import made
from polyak.jobs.open import open_session
from polyak.metrics import evaluate
from polyak.model import Classifier, load

SETS = {"hymenoptera": 60, "clothing10": 20, "eurosat10": 20, "magnetic_tile6": 30}  # a class
TRAINED = ("clothing10", "eurosat10")
REST, SEEDS, FOLDS = 30, 3, 5  # more test images of a class, draws, folds
SMALL = {"size": 96}
WAYS = ("probes", "fine-tuned")


def table(source: Path, each: int, seed: int, folder: Path) -> Path:
    """Write the CSV of one draw: so many images of each class train, and others test."""
    data = scan(find(source))
    order = np.argsort(keys.keys("bench", seed, np.arange(len(data))))
    rank = np.zeros(len(data), int)
    for label in range(len(data.classes)):
        own = order[data.labels[order] == label]
        rank[own] = np.arange(len(own))
    # as many images of each class test as train: other shares would be another task
    train = order[rank[order] < each]
    test = order[(rank[order] >= each) & (rank[order] < 2 * each + REST)]
    file, here = folder / f"{source.name}-{seed}.csv", folder / source.name
    if not here.exists():
        here.symlink_to(source.resolve())  # a table's paths lie below its own folder
    with file.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["path", "label", "split"])
        for part, chosen in (("train", train), ("test", test)):
            for i in chosen.tolist():
                rows.writerow(
                    [f"{source.name}/{data.paths[i]}", data.classes[data.labels[i]], part]
                )
    return file


def figures(end) -> dict:
    """Give accuracy and NLL on the test images."""
    return {name: end.evaluation[name]["value"] for name in ("accuracy", "nll")}


def probed(file: Path, seed: int, out: Path) -> dict:
    """Probe with a validation part, and with folds."""
    own = {"out": out, "quiet": True, "seed": seed, **SMALL}
    held = polyak.train(file, name=f"{file.stem}-val", **own)
    dealt = polyak.train(file, name=f"{file.stem}-folds", folds=FOLDS, **own)
    return {"val": figures(held.end), "folds": figures(dealt.end), **unseen(dealt.end)}


def unseen(end) -> dict:
    """Give what the folds say of themselves, and whether it holds for the test images."""
    found = end.folds
    inside = found["accuracy"]["low"] <= figures(end)["accuracy"] <= found["accuracy"]["high"]
    oof = {name: found[name]["value"] for name in ("accuracy", "nll")}
    return {"oof": oof, "covered": bool(inside)}


def trained(file: Path, seed: int, out: Path) -> dict:
    """Fine-tune with a validation part, and with folds, which come to three models."""
    own = {
        "out": out, "quiet": True, "seed": seed, "transfer": "many", "epochs": 8.0,
        "precision": "float32", **SMALL,
    }  # fmt: skip
    held = polyak.train(file, name=f"{file.stem}-tuned", **own)
    name = f"{file.stem}-tuned-folds"
    dealt = polyak.train(file, name=name, folds=FOLDS, final="refit", **own)
    found = {"val": figures(held.end), "refit": figures(dealt.end), **unseen(dealt.end)}
    recipe = polyak.Recipe(data=str(file), folds=FOLDS, out=str(out), **SMALL, seed=seed)
    session = open_session(Command.alone(recipe))
    models = [load(dealt.path / "folds" / str(number)) for number in range(FOLDS)]
    for kind in ("ensemble", "soup"):
        final = made(session, kind, models, FOLDS)
        found[kind] = measured(final.classifier, session.data.parts["test"]) | {"made": final.kind}
    return found


def measured(classifier: Classifier, part) -> dict:
    """Measure a classifier on the test images."""
    odds, _ = classifier.probabilities(part.images, threads=2)
    one = evaluate(odds, part.labels)
    return {"accuracy": one.accuracy.value, "nll": one.nll.value}


def main(options) -> None:
    """Measure every set and seed."""
    results: dict = {
        "machine": machine.describe(), "folds": FOLDS, "images a class": SETS, "probes": {},
        "fine-tuned": {},
    }  # fmt: skip
    if options.out.exists():
        results |= {k: v for k, v in json.loads(options.out.read_text()).items() if k in WAYS}
    results |= {way: {} for way in options.ways}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(SEEDS):
            for name, each in SETS.items():
                file = table(options.data / name, each, seed, Path(folder))
                if "probes" in options.ways:
                    one = probed(file, seed, Path(folder) / "runs")
                    results["probes"].setdefault(name, []).append(one)
                if name in TRAINED and "fine-tuned" in options.ways:
                    one = trained(file, seed, Path(folder) / "runs")
                    results["fine-tuned"].setdefault(name, []).append(one)
                print(seed, name, json.dumps(one), flush=True)
                options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/folds.json")
    parser.add_argument("--ways", nargs="+", default=["probes", "fine-tuned"])
    main(parser.parse_args())
