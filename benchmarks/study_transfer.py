"""The planner's regret: its choice against every strategy run in full, on test pictures.

    python benchmarks/study_transfer.py DATA --weights mobilenetv2_100.safetensors \\
        --out benchmarks/results/transfer.json

DATA holds hymenoptera, clothing10, magnetic_tile6, eurosat10 as folders with train/ and val/ or
test/. Results are written after every case: an interrupted run goes on where it was. `--page`
writes the table into docs/methods/transfer.md.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from polyak import keys, machine
from polyak.data import find
from polyak.errors import PolyakError
from polyak.train import make, train
from polyak.train.plan import plan

SETS = ("hymenoptera", "magnetic_tile6", "clothing10", "eurosat10")
STRATEGIES = ("linear", "stages", "few", "many", "all")
HALF = (0.5, 0.5, 0.5)


def subset(source: Path, each: int, seed: int, most: int, folder: Path) -> Path:
    """Link at most `each` training pictures a class, and `most` test pictures, into a folder."""
    found = find(source)
    held_out = "test" if (found.splits == "test").any() else "val"
    at = np.flatnonzero(found.splits == "train")
    order = at[np.argsort(keys.keys("bench", seed, at))]
    labels = found.labels[order]
    taken = {"train": np.concatenate([order[labels == k][:each] for k in np.unique(labels)])}
    at = np.flatnonzero(found.splits == held_out)
    taken["test"] = at[np.argsort(keys.keys("bench", at))][:most]
    for split, positions in taken.items():
        for i in positions:
            place = folder / source.name / split / found.classes[found.labels[i]]
            place.mkdir(parents=True, exist_ok=True)
            (place / Path(found.paths[i]).name).symlink_to(found.root / found.paths[i])
    return folder / source.name


def case(file: Path, options, folder: Path) -> dict:
    """Plan, then run every strategy in full."""
    shared = {
        "data": str(file), "weights": str(options.weights), "mean": HALF, "std": HALF,
        "size": options.size, "out": str(folder), "val": 0.2, "seed": options.seed, "views": "one",
    }  # fmt: skip
    *_, planned = plan(make(**shared, budget=options.budget), time.monotonic())
    found = {"chosen": planned["chosen"], "lecture": planned["lecture"], "strategies": {}}
    for name in STRATEGIES:
        epochs = {} if name in ("linear", "stages") else {"epochs": options.epochs}
        began = time.monotonic()
        *_, end = train(make(**shared, transfer=name, **epochs))
        said = end["evaluation"]
        found["strategies"][name] = {
            "accuracy": said["accuracy"], "nll": said["nll"]["value"], "n": said["n"],
            "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
    reached = {name: one["accuracy"]["value"] for name, one in found["strategies"].items()}
    found["best"] = max(reached, key=lambda name: reached[name])
    found["regret"] = round(max(reached.values()) - reached[found["chosen"]], 4)
    return found


def table(results: dict) -> str:
    """Lay the cases out: a row each, accuracies in percent, the chosen one in bold."""
    lines = [
        "| data | a class | seed | " + " | ".join(STRATEGIES) + " | lecture | regret, points |"
    ]
    lines.append("|---" * (len(STRATEGIES) + 5) + "|")
    for name, one in results["cases"].items():
        if "refused" in one:
            continue
        cells = []
        for strategy in STRATEGIES:
            text = f"{100 * one['strategies'][strategy]['accuracy']['value']:.1f}"
            cells.append(f"**{text}**" if strategy == one["chosen"] else text)
        words = [*name.split("/"), *cells, one["lecture"], f"{100 * one['regret']:.1f}"]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def page(results: dict, file: Path) -> None:
    """Write the table between the marks of the method card."""
    begin, end = "<!-- table -->", "<!-- end of table -->"
    before, _, rest = file.read_text().partition(begin)
    _, _, after = rest.partition(end)
    file.write_text(f"{before}{begin}\n{table(results)}\n{end}{after}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--weights", type=Path)
    options.add_argument("--each", type=int, nargs="+", default=[5, 10, 50])
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--sets", nargs="+", default=SETS)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--epochs", type=float, default=8)
    options.add_argument("--budget", default="60s")
    options.add_argument("--most", type=int, default=400)
    options.add_argument("--out", type=Path)
    options.add_argument("--page", type=Path)
    options = options.parse_args()
    results = {"machine": machine.describe(), "cases": {}}
    if options.out and options.out.exists():
        results = json.loads(options.out.read_text())
    results["settings"] = {
        name: getattr(options, name) for name in ("size", "epochs", "budget", "most")
    }
    for each in options.each if options.weights else ():
        for seed in range(options.seeds):
            for name in options.sets:
                key = f"{name}/{each}/{seed}"
                if key in results["cases"]:
                    continue
                options.seed = seed
                with tempfile.TemporaryDirectory() as folder:
                    file = subset(options.data / name, each, seed, options.most, Path(folder))
                    try:
                        results["cases"][key] = case(file, options, Path(folder) / "runs")
                    except PolyakError as error:
                        results["cases"][key] = {"refused": str(error)}
                print(key, json.dumps(results["cases"][key])[:300], flush=True)
                if options.out:
                    options.out.write_text(json.dumps(results, indent=1) + "\n")
    if options.page:
        page(results, options.page)


if __name__ == "__main__":
    main()
