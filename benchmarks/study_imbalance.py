"""Does `--balance` help CIFAR-10 with a long tail of 100 to 1? Five-minute trainings from scratch.

    python benchmarks/study_imbalance.py DATA --out benchmarks/results/imbalance.json

DATA holds cifar10. A seeded draw takes 500 images of every class to test on, and of the others
4,500 of the first class, 45 of the last, and between them as many as lie on a geometric row. Each
seed draws anew, and its ways run in turns. The run's directory is thrown away; nothing else may
run.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from polyak import keys, machine
from polyak.data import find, scan

WAYS = ("none", "logits", "sampling", "weights")
MOST, RATIO, TEST = 4500, 100, 500


def table(source: Path, seed: int, folder: Path) -> Path:
    """Write the CSV of one draw."""
    data = scan(find(source))
    here = folder / "cifar10"
    if not here.exists():
        here.symlink_to(source.resolve())  # a table's paths lie below its own folder
    order = np.argsort(keys.keys("bench", seed, np.arange(len(data))))
    rows = []
    for label, name in enumerate(data.classes):
        own = order[data.labels[order] == label].tolist()
        count = round(MOST * RATIO ** (-label / (len(data.classes) - 1)))
        for part, chosen in (("test", own[:TEST]), ("train", own[TEST : TEST + count])):
            rows += [[f"cifar10/{data.paths[i]}", name, part] for i in chosen]
    file = folder / f"tail-{seed}.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "label", "split"])
        writer.writerows(rows)
    return file


def trained(file: Path, way: str, seed: int, options, folder: Path) -> dict:
    """Train as a user would, and give the figures on the test images."""
    name = f"{way}-{seed}"
    command = [
        sys.executable, "-m", "polyak", "train", str(file), "--balance", way, "--seed", str(seed),
        "--out", str(folder / "runs"), "--name", name,
    ]  # fmt: skip
    command += ["--weights", options.weights]
    if options.budget != "none":
        command += ["--budget", options.budget]
    subprocess.run(command, check=True, capture_output=True)
    lines = (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
    end = json.loads(lines[-1])
    found = end["evaluation"]
    balanced = found.get("balanced", found["accuracy"])  # test classes are even
    return {
        "balanced": balanced["value"], "accuracy": found["accuracy"]["value"],
        "nll": found["nll"]["value"], "chosen": end["chosen"], "seconds": end["seconds"],
        "recall": recall(folder / "runs" / name / "predictions/test.csv"),
    }  # fmt: skip


def recall(file: Path) -> list[float]:
    """Give the recall of each class, from the most frequent to the rarest."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    names = sorted({row["label"] for row in rows})
    own = {name: [row["predicted"] == name for row in rows if row["label"] == name]
           for name in names}  # fmt: skip
    return [round(float(np.mean(own[name])), 4) for name in names]


def main(options) -> None:
    """Measure every way and seed; those that are measured stay."""
    results: dict = {"machine": machine.describe(), "ratio": RATIO, "runs": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text())
    kind = f"{options.weights} {options.budget}"
    runs = results["runs"].setdefault(kind, {})
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            file = table(options.data / "cifar10", seed, Path(folder))
            for way in options.ways:
                if f"{way} {seed}" in runs:
                    continue
                one = trained(file, way, seed, options, Path(folder))
                runs[f"{way} {seed}"] = one
                print(kind, way, seed, one, flush=True)
                options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/imbalance.json"
    )
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    main(parser.parse_args())
