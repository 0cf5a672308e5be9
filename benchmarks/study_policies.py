"""What each policy, mixup and cutmix do to test accuracy, on small images and on photographs.

    OMP_NUM_THREADS=1 nice python benchmarks/study_policies.py [--only cifar10] [--table]

Networks from scratch, few training images, equal epochs for all: a step costs the network the
same whatever the policy, and drawing is a small part of it (seconds of processor time are
recorded). Everything else is the default of `polyak train`, one thread, raw weights, one view. Each
finished run is written down at once, and a run that is there already is not repeated. --table only
writes the table into docs/methods/augmentation.md.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path

from card import insert

HERE = Path(__file__).parent
RESULTS = HERE / "results/policies.json"
POLICIES = {
    "none": {"augment": "none"},
    "light": {"augment": "light"},
    "lecture": {"augment": "lecture"},
    "strong": {"augment": "strong"},
    "light + mixup": {"augment": "light", "mix": "mixup"},
    "light + cutmix": {"augment": "light", "mix": "cutmix"},
}
NETWORK = {"model": "compact", "widths": (16, 64, 64), "average": 0, "views": "one", "threads": 1}
# images a class to train on (0: the data's own split), epochs, side of the network's images
DATA = {"cifar10": (500, 16, 32), "clothing10": (0, 12, 64)}
SEEDS = (0, 1, 2)


def table(name, per_class, folder):
    """Write the CSV of a data set: its training images, 100 to calibrate on, and those to test.

    Without a test part of its own: from every class the first images train, as many later test.
    """
    home = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache/polyak-data") / name
    (folder / name).symlink_to(home)
    rows = ["path,label,split"]
    for split in ("train",) if per_class else ("train", "val", "test"):
        for place in sorted((home / split).iterdir()):
            files = sorted(place.iterdir())[: 2 * per_class + 10 if per_class else None]
            for number, file in enumerate(files):
                part = "train" if split == "train" else "test"
                if per_class:
                    part = ("train", "test", "val")[min(number // per_class, 2)]
                elif split == "val" and number < 10:
                    part = "val"
                rows.append(f"{file.relative_to(home.parent)},{place.name},{part}")
    csv = folder / f"{name}.csv"
    csv.write_text("\n".join(rows) + "\n")
    return csv


def run(csv, epochs, size, seed, choices, out):
    """Train once; return what counts of the run's last record."""
    from polyak.jobs import stream
    from polyak.recipe import make

    recipe = make(
        data=str(csv), epochs=epochs, size=size, seed=seed, out=str(out), **NETWORK, **choices
    )
    wall, processor = time.monotonic(), time.process_time()
    *_, start, end = [e for e in stream(recipe) if e.kind in ("start", "end")]
    found = end.evaluation
    return {
        "accuracy": round(found["accuracy"]["value"], 4),
        "nll": round(found["nll"]["value"], 4),
        "tested": found["n"],
        "trained": start.train,
        "epochs": epochs,
        "processor_seconds": round(time.process_time() - processor, 1),
        "seconds": round(time.monotonic() - wall, 1),
    }


def measure(names):
    from polyak import machine

    page = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        csvs = {name: table(name, DATA[name][0], Path(folder)) for name in names}
        for seed in SEEDS:
            for name, csv in csvs.items():
                _, epochs, size = DATA[name]
                for policy, choices in POLICIES.items():
                    key = f"{name}, {policy}, seed {seed}"
                    if key in page["runs"]:
                        continue
                    out = Path(folder) / "runs"
                    page["runs"][key] = run(csv, epochs, size, seed, choices, out)
                    page["machine"] = machine.describe()
                    RESULTS.write_text(json.dumps(page, indent=1) + "\n")
                    print(key, page["runs"][key], flush=True)


def summary(page):
    """Lay the runs out as a table: mean and range of accuracy, and NLL, for each policy."""
    lines = []
    for name in DATA:
        rows = []
        for policy in POLICIES:
            found = [page["runs"].get(f"{name}, {policy}, seed {seed}") for seed in SEEDS]
            rows.append((policy, [one for one in found if one]))
        done = [one for _, found in rows for one in found]
        if not done:
            continue
        one = done[0]
        error = math.sqrt(one["accuracy"] * (1 - one["accuracy"]) / one["tested"])
        lines += [
            f"`{name}`: {one['trained']} images to train on, {one['epochs']} epochs, "
            f"{one['tested']} to test (standard error of one accuracy {100 * error:.1f} points).",
            "",
            "| policy | accuracy, mean (lowest to highest) of seeds | NLL | seeds | processor s |",
            "|---|---|---|---|---|",
        ]
        for policy, found in rows:
            if found:
                right = [100 * run["accuracy"] for run in found]
                nll = statistics.mean(run["nll"] for run in found)
                cost = statistics.median(run["processor_seconds"] for run in found)
                lines.append(
                    f"| {policy} | {statistics.mean(right):.1f} ({min(right):.1f} to "
                    f"{max(right):.1f}) | {nll:.3f} | {len(found)} | {cost:.0f} |"
                )
        lines.append("")
    return "\n".join(lines)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", choices=tuple(DATA))
    options.add_argument("--table", action="store_true")
    options = options.parse_args()
    if not options.table:
        measure([options.only] if options.only else list(DATA))
    page = json.loads(RESULTS.read_text())
    insert("augmentation", "policies", summary(page))


if __name__ == "__main__":
    main()
