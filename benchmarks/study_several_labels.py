"""Several labels an image: 2x2 mosaics of CIFAR-10 images, labelled by the classes in them.

    python benchmarks/study_several_labels.py DATA --out benchmarks/results/several_labels.json

DATA holds cifar10. A seeded draw makes 3,000 mosaics of 64 pixels to train on and 1,000 of other
images to test on, each of one to four classes. Each way of training runs once a seed.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from polyak import keys, machine
from polyak.data import find, scan
from polyak.metrics import evaluate_several

TRAIN, TEST, SIDE = 3000, 1000, 32
WAYS = {
    "probe": [],
    "probe, 5 folds": ["--folds", "5"],
    "one minute": ["--budget", "60s"],
    "five minutes": ["--budget", "5m"],
    "five minutes from scratch": ["--budget", "5m", "--weights", "none"],
    "the same with cutmix": ["--budget", "5m", "--weights", "none", "--mix", "cutmix"],
}


def mosaics(source: Path, seed: int, folder: Path) -> Path:
    """Make the images of one draw, and their table."""
    data = scan(find(source))
    order = np.argsort(keys.keys("bench", seed, np.arange(len(data))))
    half = len(order) // 2  # no image is in a mosaic to train on and in one to test on
    place = folder / f"mosaics-{seed}"
    place.mkdir()
    rows = []
    for number in range(TRAIN + TEST):
        part = "train" if number < TRAIN else "test"
        pool = order[:half] if part == "train" else order[half:]
        count = 1 + int(keys.uniform("bench", seed, number) * 4)
        draw = keys.uniform("bench", seed, number, np.arange(14))
        classes = np.argsort(draw[:10])[:count]
        four = [int(classes[i % count]) for i in range(4)]
        canvas = Image.new("RGB", (2 * SIDE, 2 * SIDE))
        for i, label in enumerate(np.array(four)[np.argsort(draw[10:])]):
            own = pool[data.labels[pool] == label]
            pick = own[int(keys.uniform("bench", seed, number, 20 + i) * len(own))]
            with Image.open(source / data.paths[pick]) as image:
                canvas.paste(image.convert("RGB"), (SIDE * (i % 2), SIDE * (i // 2)))
        canvas.save(place / f"{number}.png")
        names = ";".join(data.classes[label] for label in sorted(set(four)))
        rows.append([f"{place.name}/{number}.png", names, part])
    file = folder / f"{place.name}.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "labels", "split"])
        writer.writerows(rows)
    return file


def trained(file: Path, way: str, seed: int, folder: Path) -> dict:
    """Train as a user would, and give the figures on the test mosaics."""
    name = f"{way.replace(',', '').replace(' ', '-')}-{seed}"
    command = [
        sys.executable, "-m", "polyak", "train", str(file), "--seed", str(seed), "--out",
        str(folder / "runs"), "--name", name, *WAYS[way],
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    lines = (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
    end = json.loads(lines[-1])
    from safetensors.numpy import load_file

    said = load_file(folder / "runs" / name / "predictions/test.safetensors")
    half = evaluate_several(said["probabilities"], said["labels"], np.full(10, 0.5))
    names = ("map", "micro_f1", "f1", "accuracy", "nll", "ece")
    found = {one: end["evaluation"][one]["value"] for one in names}
    at_half = {"f1": half.f1.value, "accuracy": half.accuracy.value} if half.f1 else {}
    return found | {"at 0.5": at_half, "chosen": end["chosen"], "seconds": end["seconds"]}


def main(options) -> None:
    """Measure every way and seed; those that are measured stay."""
    results: dict = {"machine": machine.describe(), "train": TRAIN, "test": TEST, "runs": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text())
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            file = mosaics(options.data / "cifar10/train", seed, Path(folder))
            for way in options.ways:
                if f"{way} {seed}" in results["runs"]:
                    continue
                one = trained(file, way, seed, Path(folder))
                results["runs"][f"{way} {seed}"] = one
                print(way, seed, one, flush=True)
                options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/several_labels.json"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    main(parser.parse_args())
