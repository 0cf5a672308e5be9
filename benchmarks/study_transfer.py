"""The planner's regret: its choice against every strategy run in full, on test images.

    python benchmarks/study_transfer.py DATA --weights mobilenetv2_100.safetensors \\
        --out benchmarks/results/transfer.json

DATA holds hymenoptera, clothing10, magnetic_tile6, eurosat10 as folders with train/ and val/ or
test/, and cifar10, where `--sets` names it, with a test/ of images that were set aside. Results
are written after every step of a case: an interrupted run goes on where it was; `--steps plan`
plans only. `--page` writes the table into docs/methods/transfer.md.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from polyak import keys, machine
from polyak.data import find
from polyak.jobs import stream
from polyak.jobs.plan import plan
from polyak.recipe import make

SETS = ("hymenoptera", "magnetic_tile6", "clothing10", "eurosat10")
STRATEGIES = ("linear", "stages", "few", "many", "all")
HALF = (0.5, 0.5, 0.5)
ALL = "all"  # training images that there are


def subset(source: Path, each: str, seed: int, most: int, folder: Path) -> Path:
    """Link at most `each` training images a class, and `most` test images, into a folder."""
    found = find(source)
    held_out = "test" if (found.splits == "test").any() else "val"
    at = np.flatnonzero(found.splits == "train")
    order = at[np.argsort(keys.keys("bench", seed, at))]
    labels = found.labels[order]
    first = None if each == ALL else int(each)
    taken = {"train": np.concatenate([order[labels == k][:first] for k in np.unique(labels)])}
    at = np.flatnonzero(found.splits == held_out)
    taken["test"] = at[np.argsort(keys.keys("bench", at))][:most]
    for split, positions in taken.items():
        for i in positions:
            place = folder / source.name / split / found.classes[found.labels[i]]
            place.mkdir(parents=True, exist_ok=True)
            (place / Path(found.paths[i]).name).symlink_to(found.root / found.paths[i])
    return folder / source.name


def shared(file: Path, options, folder: Path) -> dict:
    """Choices that planning and training have in common."""
    return {
        "data": str(file), "weights": str(options.weights), "mean": HALF, "std": HALF,
        "size": options.size, "out": str(folder), "val": 0.2, "seed": options.seed, "views": "one",
        "threads": options.threads,
    }  # fmt: skip


def in_full(file: Path, options, folder: Path, found: dict) -> dict:
    """Run every missing strategy as `polyak train` does when nothing else is asked for."""
    for name in (name for name in STRATEGIES if name not in found):
        began = time.monotonic()
        *_, end = stream(make(**shared(file, options, folder), transfer=name))
        said = end.evaluation
        found[name] = {
            "accuracy": said["accuracy"], "nll": said["nll"]["value"], "n": said["n"],
            "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
    return found


def planned(file: Path, options, folder: Path, _: dict) -> dict:
    """Plan, and keep what was chosen and from which figures."""
    recipe = make(**shared(file, options, folder), budget=options.budget)
    *_, end = plan(recipe, time.monotonic())
    return {name: getattr(end, name) for name in ("chosen", "lecture", "why", "rows")}


def done(case: dict, step: str) -> bool:
    """Whether a step of a case is in the results, whole."""
    return step in case and (step != "strategies" or set(case[step]) >= set(STRATEGIES))


def cases(options, results: dict) -> Iterator[tuple[str, str]]:
    """Fill what is missing in the results; yield (case, what was done)."""
    work = {"strategies": in_full, "plan": planned}
    for each, seed, name in product(options.each, range(options.seeds), options.sets):
        options.seed = seed
        case = results["cases"].setdefault(f"{name}/{each}/{seed}", {})
        for step in (step for step in options.steps if not done(case, step)):
            with tempfile.TemporaryDirectory() as folder:
                file = subset(options.data / name, each, seed, options.most, Path(folder))
                case[step] = work[step](file, options, Path(folder) / "runs", case.get(step, {}))
            yield f"{name}/{each}/{seed}", step


def reached(case: dict, name: str) -> float:
    """Test accuracy of a strategy, percent."""
    return 100 * case["strategies"][name]["accuracy"]["value"]


def row(words: list[str], found: list[dict]) -> str:
    """Lay out means over some cases, and what following the planner or the lecture would lose."""
    means = {name: statistics.mean(reached(case, name) for case in found) for name in STRATEGIES}
    cells = [f"{mean:.1f}" for mean in means.values()]
    for who in ("chosen", "lecture"):
        if not all(done(case, "plan") for case in found):
            cells.append("not planned yet")
            continue
        picks = [case["plan"][who] for case in found]
        got = statistics.mean(reached(*pair) for pair in zip(found, picks, strict=True))
        cells.append(f"{max(means.values()) - got:.1f} ({', '.join(picks)})")
    return "| " + " | ".join([*words, *cells]) + " |"


def table(results: dict) -> str:
    """Lay the cases out, a row a set and number of images: means over seeds."""
    heads = [
        "data",
        "a class",
        "seeds",
        *STRATEGIES,
        "planner loses (chose)",
        "lecture's cell loses",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    groups: dict[tuple[str, str], list[dict]] = {}
    for name, case in results["cases"].items():
        if done(case, "strategies"):
            groups.setdefault(tuple(name.split("/")[:2]), []).append(case)
    for (name, each), found in sorted(groups.items(), key=by_size):
        lines.append(row([name, each, str(len(found))], found))
    return "\n".join(lines)


def by_size(group: tuple[tuple[str, str], list[dict]]) -> tuple[str, float]:
    """Order rows by data, then by images a class: all that there are come last."""
    (name, each), _ = group
    return name, float("inf") if each == ALL else int(each)


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
    options.add_argument("--each", nargs="+", default=["5", "10", "50"], help="or all")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--sets", nargs="+", default=SETS)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--budget", default="60s")
    options.add_argument("--most", type=int, default=400)
    options.add_argument("--threads", type=int)
    options.add_argument("--steps", nargs="+", default=["strategies", "plan"])
    options.add_argument("--out", type=Path)
    options.add_argument("--page", type=Path)
    options = options.parse_args()
    results = {"machine": machine.describe(), "cases": {}}
    if options.out and options.out.exists():
        results = json.loads(options.out.read_text())
    asked = ("size", "budget", "most", "threads")
    results["settings"] = {name: getattr(options, name) for name in asked}
    for name, step in cases(options, results) if options.weights else ():
        print(name, step, json.dumps(results["cases"][name][step])[:300], flush=True)
        if options.out:
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    if options.page:
        page(results, options.page)


if __name__ == "__main__":
    main()
