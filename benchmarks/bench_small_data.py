"""From a folder of photographs to a classifier in equal minutes: polyak, timm, torchvision, fastai.

    python benchmarks/bench_small_data.py DATA --out benchmarks/results/small_data.json

DATA holds hymenoptera, clothing10, magnetic_tile6, eurosat10 with train/ and test/ or val/, and
cifar10 with train/ alone. Every contender is a command of its own, in turns, with the same starting
weights and the same images of at most `--size` pixels; `open` is polyak left to itself, free to
choose sizes and backbones. Accuracy and NLL are of test images that nobody trained on or chose by.
Results are written after every case: an interrupted run goes on where it was. `--page` writes the
table into docs/methods/transfer.md; fastai must be installed beside polyak's `[bench]`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from polyak import keys, machine, metrics
from polyak.data import find, scan

HERE = Path(__file__).parent
SETS = ("hymenoptera", "clothing10", "magnetic_tile6", "eurosat10", "cifar10")
CONTENDERS = ("polyak", "open", "timm", "fastai", "torchvision")
MOST_TEST, MOST_TRAIN = 1000, 400  # test images; a class's training images of the largest set
MARK = "<!-- small data -->"


def subset(source: Path, each: int | None, seed: int, folder: Path) -> Path:
    """Link training images, at most so many a class, and test images, into folders."""
    found = scan(find(source))
    held = next((name for name in ("test", "val") if (found.splits == name).any()), "")
    train, test = found.splits != held, found.splits == held
    if not held:  # one in five of each class is set aside, the same for all seeds
        test = keys.keys("bench", 99, np.arange(len(found))) % 5 == 0
        train = ~test
    at = np.flatnonzero(train)
    at = at[np.argsort(keys.keys("bench", seed, at))]
    labels = found.labels[at]
    learn = np.concatenate([at[labels == k][: each or MOST_TRAIN] for k in np.unique(labels)])
    at = np.flatnonzero(test)
    parts = {"train": learn, "test": at[np.argsort(keys.keys("bench", 1, at))][:MOST_TEST]}
    root = Path(str(found.source.root))
    for split, positions in parts.items():
        for i in positions:
            place = folder / split / found.classes[found.labels[i]]
            place.mkdir(parents=True, exist_ok=True)
            name = f"{i:06d}{Path(found.paths[i]).suffix}"
            (place / name).symlink_to((root / found.paths[i]).resolve())
    return folder


def truth(folder: Path) -> tuple[list[str], np.ndarray]:
    """Test images, sorted by path, and their classes."""
    classes = sorted(one.name for one in (folder / "train").iterdir())
    files = sorted((folder / "test").rglob("*.*"))
    return [str(file) for file in files], np.array([classes.index(f.parent.name) for f in files])


def run(contender: str, folder: Path, options, seed: int, work: Path) -> dict:
    """Run one contender and measure what it says of the test images."""
    files, labels = truth(folder)
    began = time.monotonic()
    environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
    if contender in ("polyak", "open"):
        # test images stand elsewhere: nothing of them is seen before the model is finished
        data = work / "data"
        data.mkdir()
        (data / "train").symlink_to(folder / "train")
        command = [
            sys.executable, "-m", "polyak", "train", str(data / "train"), "--seed", str(seed),
            "--budget", f"{options.seconds}s", "--out", str(work / "runs"), "--name", "run",
        ]  # fmt: skip
        if contender == "polyak":
            command += ["--weights", "tf_efficientnet_lite0", "--size", str(options.size)]
    else:
        command = [
            sys.executable, str(HERE / "small_data_peers.py"), contender, str(folder),
            "--seconds", str(options.seconds), "--size", str(options.size), "--seed", str(seed),
            "--out", str(work / "said.npz"),
        ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{contender} failed: {done.stderr[-2000:]}{done.stdout[-500:]}")
    if contender in ("polyak", "open"):
        from polyak import load

        found = load(work / "runs" / "run").predict(files)
        assert not found.unreadable
        log_probs = np.log(np.maximum(found.probabilities, 1e-12))
        header = json.loads((work / "runs/run/metrics.jsonl").read_text().splitlines()[-1])
        told = {"chosen": header["chosen"]}
    else:
        with np.load(work / "said.npz") as saved:
            log_probs, told = saved["log_probs"], {"epochs": int(saved["epochs"])}
            seconds = float(saved["seconds"])
    right = log_probs.argmax(1) == labels
    return {
        "accuracy": float(right.mean()), "nll": metrics.nll(log_probs, labels),
        "seconds": round(seconds, 1), "images": len(labels), **told,
    }  # fmt: skip


def page(results: dict, file: Path) -> None:
    """Write the table between its marks."""
    lines = [
        "| data | a class | seconds | seeds | " + " | ".join(CONTENDERS) + " |",
        "|" + "---|" * (4 + len(CONTENDERS)),
    ]
    cases: dict[tuple, dict] = {}
    for key, row in results["cases"].items():
        name, each, seconds, _, contender = key.split("/")
        cases.setdefault((name, each, seconds), {}).setdefault(contender, []).append(row)
    for (name, each, seconds), by in cases.items():
        cells = []
        for contender in CONTENDERS:
            rows = by.get(contender, [])
            if not rows:
                cells.append("")
                continue
            accuracy = np.mean([row["accuracy"] for row in rows]) * 100
            nll, spent = (np.mean([row[k] for row in rows]) for k in ("nll", "seconds"))
            cells.append(f"{accuracy:.1f} %, {nll:.3f}, {spent:.0f} s")
        seeds = max(len(rows) for rows in by.values())
        lines.append(f"| {name} | {each} | {seconds} | {seeds} | {' | '.join(cells)} |")
    text, table = file.read_text(), "\n".join(lines)
    before, _, rest = text.partition(MARK)
    _, _, after = rest.partition(MARK)
    file.write_text(f"{before}{MARK}\n{table}\n{MARK}{after}")


def main(options) -> None:
    """Run what is missing, case by case."""
    results = json.loads(options.out.read_text()) if options.out.exists() else {"cases": {}}
    results["machine"] = machine.describe()
    each = None if options.each == "all" else int(options.each)
    for seed, name, contender in product(options.seeds, options.sets, options.contenders):
        key = f"{name}/{options.each}/{options.seconds}/{seed}/{contender}"
        if key in results["cases"]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            data = subset(options.data / name, each, seed, Path(folder) / name)
            work = Path(folder) / "work"
            work.mkdir()
            results["cases"][key] = run(contender, data, options, seed, work)
        print(key, results["cases"][key], flush=True)
        options.out.write_text(json.dumps(results, indent=1))
    if options.page:
        page(results, options.page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "results/small_data.json")
    parser.add_argument("--each", default="10", help="training images a class, or all")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS)
    parser.add_argument("--page", type=Path)
    main(parser.parse_args())
