"""What each schedule of the rate does to test accuracy in a short run, one peak rate for all.

    OMP_NUM_THREADS=1 nice python benchmarks/study_schedules.py [--out FILE] [--table]

CIFAR-10, 5,000 images to train on and 5,000 to test, four epochs, light augmentation; network and
threads as in study_policies.py. Raw weights and the average are of the same run. Each finished run
is written down at once, and one that is there already is not repeated. --table only writes the
table into docs/methods/schedules.md.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from card import insert
from study_policies import NETWORK, SEEDS, table

HERE = Path(__file__).parent
RESULTS = HERE / "results/schedules.json"
EPOCHS = 4
SCHEDULES = (
    "triangular", "one_cycle", "cosine", "step", "exponential", "inverse", "constant", "cyclic",
    "sgdr",
)  # fmt: skip
AVERAGE = 0.1  # half-life as a share of the run
ENDS = ("weights", "average")


def run(csv, schedule, seed, out):
    """Train once; return what raw and averaged weights reach on the images of test."""
    from polyak.jobs import stream
    from polyak.recipe import make

    how = {**NETWORK, "average": AVERAGE, "augment": "light", "schedule": schedule, "size": 32}
    began = time.process_time()
    *_, end = stream(make(data=str(csv), epochs=EPOCHS, seed=seed, out=str(out), **how))
    found = {
        row["name"]: {part: round(row[part]["value"], 4) for part in ("accuracy", "nll")}
        for row in end.table
        if row["views"] == "one" and row["name"] in ENDS
    }
    return found | {"processor_seconds": round(time.process_time() - began, 1)}


def measure(file):
    from polyak import machine

    page = json.loads(file.read_text()) if file.exists() else {"runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        csv = table("cifar10", 500, Path(folder))
        for seed in SEEDS:
            for schedule in SCHEDULES:
                key = f"{schedule}, seed {seed}"
                if key in page["runs"]:
                    continue
                page["runs"][key] = run(csv, schedule, seed, Path(folder) / "runs")
                page["machine"] = machine.describe()
                file.write_text(json.dumps(page, indent=1) + "\n")
                print(key, page["runs"][key], flush=True)


def summary(page):
    """Lay the runs out as a table: mean and range of accuracy, and NLL, for each schedule."""
    lines = [
        "| schedule | raw weights | NLL | average | NLL |",
        "|---|---|---|---|---|",
    ]
    for schedule in SCHEDULES:
        cells = [f"`{schedule}`"]
        for name in ENDS:
            found = [page["runs"][f"{schedule}, seed {seed}"][name] for seed in SEEDS]
            right = [100 * one["accuracy"] for one in found]
            nll = statistics.mean(one["nll"] for one in found)
            mean = statistics.mean(right)
            cells += [f"{mean:.1f} ({min(right):.1f} to {max(right):.1f})", f"{nll:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--table", action="store_true")
    options = options.parse_args()
    if not options.table:
        measure(options.out)
    insert("schedules", "schedules", summary(json.loads(options.out.read_text())))


if __name__ == "__main__":
    main()
