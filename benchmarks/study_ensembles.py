"""What ensembles and dropout gain on CIFAR-10, at an equal number of epochs.

    python benchmarks/study_ensembles.py FOLDER [--epochs 3] [--seeds 3] [--out FILE]
    python benchmarks/study_ensembles.py FOLDER --train 2000 --epochs 18 --out FILE \\
        --only single snapshots "dropout 0.5" "dropout 0.2"
    python benchmarks/study_ensembles.py PHOTOGRAPHS --weights FILE --epochs 10 --out FILE \\
        --only single snapshots "3 x full" distilled

FOLDER holds CIFAR-10's training images by class. Of them 12,000 are trained on, 1,500 validate
(and choose, and calibrate) and 3,000 measure; every figure is of those 3,000. A step costs the same
in every run (but a distilled one, which asks its teachers too), so equal epochs stand for equal
minutes. The single run is the first member of the three of full length: the same seed. A run that
is in FILE already is not made again. With --weights the last stage of that network is fine-tuned on
photographs of 96 pixels; PHOTOGRAPHS has train, val and test. With --tables the documentation's
table is printed only.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from polyak import keys, load, machine
from polyak.files import write_atomic
from polyak.jobs import stream
from polyak.recipe import make

WIDTHS = (16, 32, 32)
PARTS = {"train": 12_000, "val": 1_500, "test": 3_000}
CYCLED = ("snapshots", "3 cycles", "shrinking cycles", "low restarts", "wsd", "branches")
CYCLED += ("2 branches", "5 branches")
TEACHERS = ("full", "a third")


def prepare(source: Path, folder: Path, trained: int) -> Path:
    """Lay out a split of the images, the same for every run: links, not copies."""
    files = sorted(file for file in source.glob("*/*") if file.is_file())
    order = keys.permutation("benchmark", 0, 0, len(files))
    start = 0
    for part, count in (PARTS | {"train": trained}).items():
        for number in order[start : start + count]:
            file = files[number]
            place = folder / part / file.parent.name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, place)
            except FileExistsError:
                continue
            except OSError:
                shutil.copyfile(file, place)
        start += count
    return folder


COMPACT = {"model": "compact", "widths": WIDTHS}
HALF = (0.5, 0.5, 0.5)
FINE = {"transfer": "few", "size": 96, "mean": HALF, "std": HALF}


def recipes(epochs: float, teachers: dict[str, str]) -> dict[str, dict]:
    """Every run under test, by name; a distilled one comes after its teachers."""
    return {
        "single": {"epochs": epochs},
        "snapshots": {"schedule": "sgdr", "cycles": 5, "ensemble": "snapshots", "epochs": epochs},
        "3 cycles": {"schedule": "sgdr", "cycles": 3, "ensemble": "snapshots", "epochs": epochs},
        "shrinking cycles": {
            "schedule": "sgdr",
            "cycles": 5,
            "cycle_growth": 0.6,
            "ensemble": "snapshots",
            "epochs": epochs,
        },
        "low restarts": {
            "schedule": "sgdr",
            "cycles": 3,
            "cycle_growth": 0.5,
            "cycle_peak": 0.2,
            "ensemble": "snapshots",
            "epochs": epochs,
        },
        "wsd": {"schedule": "wsd", "epochs": epochs},
        "branches": {"schedule": "wsd", "ensemble": "branches", "epochs": epochs},
        "2 branches": {"schedule": "wsd", "cycles": 2, "ensemble": "branches", "epochs": epochs},
        "5 branches": {"schedule": "wsd", "cycles": 5, "ensemble": "branches", "epochs": epochs},
        "3 x full": {"ensemble": "independent:3", "epochs": epochs},
        "3 x a third": {"ensemble": "independent:3", "epochs": epochs / 3},
        "distilled": {"distill": teachers["full"], "epochs": epochs},
        # its three teachers look at every image too: a step takes twice as long
        "distilled from thirds, equal minutes": {
            "distill": teachers["a third"],
            "epochs": epochs / 2,
        },
        "dropout 0.5": {"dropout": 0.5, "epochs": epochs},
        "dropout 0.2": {"dropout": 0.2, "epochs": epochs},
    }


NAMES = tuple(recipes(1, dict.fromkeys(TEACHERS, "")))


def measure(data: Path, out: Path, name: str, seed: int, choices: dict) -> dict:
    """Train once; return its table of candidates, and that of its first member where it has any."""
    began = time.monotonic()
    recipe = make(
        **{
            "data": str(data), "schedule": "cosine", "views": "one", "seed": seed, "threads": 1,
            "precision": "float32", "save_every": 10**6, "out": str(out),
            "name": f"{name}, seed {seed}",
        }
        | choices
    )  # fmt: skip
    *_, end = stream(recipe)
    found = {"seconds": round(time.monotonic() - began, 1), "table": end.table}
    folder = Path(end.model).parent
    if (folder / "members").is_dir():
        tables = [load(folder / "members" / str(n)).header["table"] for n in range(3)]
        found["members"] = tables
    return found


def rows(runs: dict, seeds: int) -> dict[str, list[dict]]:
    """The rows of the documentation: name -> one measurement a seed."""
    table: dict[str, list[dict]] = {}

    def add(name: str, source: list[dict], candidate: str) -> None:
        for row in source:
            if row["name"] == candidate and "refused" not in row:
                table.setdefault(name, []).append(row)

    for seed in range(seeds):
        at = {name: runs.get(f"{name}, seed {seed}") for name in NAMES}
        single = at["single"]["table"] if at["single"] else []
        if at["3 x full"]:
            single = single or at["3 x full"]["members"][0]
        add("the probe that all begin with", single, "probe")
        add("single run, last weights", single, "weights")
        add("single run, average", single, "average")
        add("single run, halfway", single, "halfway")
        if at["3 x full"]:
            for candidate in ("uniform soup", "greedy soup"):
                add(f"3 x full, {candidate}", at["3 x full"]["table"], candidate)
            add("3 x full, mean of 3", at["3 x full"]["table"], "3 members")
        if at["3 x a third"]:
            add("3 x a third, mean of 3", at["3 x a third"]["table"], "3 members")
        for name in CYCLED:
            ways = at[name]["table"] if at[name] else []
            for row in (row for row in ways if row["name"] != "probe"):
                # how many validation selects differs from seed to seed
                selected = " of " in row["name"]
                title = "selected, weighted" if selected else row["name"]
                add(f"{name}, {title}", [row], row["name"])
        for name in (name for name in NAMES if name.startswith(("distilled", "dropout"))):
            if at[name]:
                add(f"{name}, last weights", at[name]["table"], "weights")
                add(f"{name}, average", at[name]["table"], "average")
    return table


def line(name: str, measured: list[dict]) -> str:
    """One row of a table: mean and range over seeds."""
    cells = [name, str(len(measured))]
    for figure, scale, form in (("accuracy", 100, ".2f"), ("nll", 1, ".4f"), ("ece", 100, ".2f")):
        values = [row[figure]["value"] * scale for row in measured]
        span = f"{min(values):{form}} to {max(values):{form}}"
        cells.append(f"{statistics.mean(values):{form}} ({span})")
    cells.append(str(measured[0]["passes"]))
    return "| " + " | ".join(cells) + " |"


def summary(runs: dict, seeds: int) -> dict[str, dict[str, str]]:
    """Mean and range over seeds, in words, by row and figure."""
    heads = ("seeds", "accuracy, %", "NLL", "calibration error, %", "passes")
    return {
        name: dict(zip(heads, line(name, found).strip("| ").split(" | ")[1:], strict=True))
        for name, found in rows(runs, seeds).items()
    }


def tables(runs: dict, seeds: int) -> str:
    """Print all rows as Markdown."""
    head = "| | seeds | accuracy, % | NLL | calibration error, % | passes |\n"
    head += "|---|---|---|---|---|---|\n"
    return head + "\n".join(line(name, found) for name, found in rows(runs, seeds).items())


def options() -> argparse.Namespace:
    """Read what was typed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=PARTS["train"], help="images to train on")
    parser.add_argument("--weights", help="fine-tune these instead")
    parser.add_argument("--only", nargs="+", help="rows to measure; by default all but 'single'")
    parser.add_argument("--scratch", help="keep runs here, teachers for a later call")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/ensembles.json"
    )
    return parser.parse_args()


def record(given: argparse.Namespace, runs: dict) -> None:
    """Write the results file anew."""
    chosen = {
        "epochs": given.epochs,
        **({"weights": Path(given.weights).name, **FINE} if given.weights else COMPACT),
        "parts": None if given.weights else PARTS | {"train": given.train},
    }
    result = {
        "machine": machine.describe() | {"threads": 1},
        "choices": chosen,
        "summary": summary(runs, given.seeds),
        "runs": runs,
    }
    write_atomic(given.out, json.dumps(result, indent=1) + "\n")


def work(given: argparse.Namespace, runs: dict, scratch: Path) -> None:
    """Make every run that is missing: all seeds of one row before the next row."""
    data, network, out = given.data, COMPACT, scratch / "runs"
    if given.weights:
        network = FINE | {"weights": given.weights}
    else:
        data = prepare(given.data, scratch / f"data-{given.train}", given.train)
    for name in given.only or [name for name in NAMES if name != "single"]:
        for seed in range(given.seeds):
            teachers = {
                who: str(out / f"3-x-{who.replace(' ', '-')}-seed-{seed}") for who in TEACHERS
            }
            choices = recipes(given.epochs, teachers)[name]
            key = f"{name}, seed {seed}"
            if key in runs or not Path(choices.get("distill", ".")).is_dir():
                continue
            runs[key] = measure(data, out, name, seed, network | choices)
            print(f"{key}: {runs[key]['seconds']:.0f} s", flush=True)
            record(given, runs)


def main():
    given = options()
    runs = json.loads(given.out.read_text())["runs"] if given.out.exists() else {}
    if not given.tables:
        with tempfile.TemporaryDirectory() as scratch:
            work(given, runs, Path(given.scratch or scratch))
    print(tables(runs, given.seeds))


if __name__ == "__main__":
    main()
