"""Seconds and memory of `polyak report` on a run directory as large as ImageNet's, and its page.

    python benchmarks/bench_report.py [--rounds 3] [--out benchmarks/results/report.json]

1,000 classes, predictions for 50,000 validation images, 1,281,167 images to train on; and 100
classes of 10,000. Every round is a process of its own, imports included; its peak is of the whole
process. The promise is under 60 s and 2 GB, and a page under 3 MB.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from polyak import machine, metrics

CASES = {"1,000 classes": (1000, 50_000, 1_281_167), "100 classes": (100, 10_000, 100_000)}
PHOTOGRAPHS = 100  # files that the predictions' names share
CHILD = """
import resource, sys, time
began = time.perf_counter()
from polyak.cli import main
assert main(["report", sys.argv[1]]) == 0
seconds = time.perf_counter() - began
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def photograph(file, number):
    """Write a JPEG of 500x375 with some content."""
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(number).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(file, quality=90)


def generate(folder, classes, n, training):
    """Write the run directory of a classifier that is right on about three images of four."""
    names = [f"n{i:08} a class with a longer name" for i in range(classes)]
    labels = np.arange(n) % classes
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += 4.0
    run, data = folder / "run", folder / "data"
    (run / "predictions").mkdir(parents=True)
    for number in range(PHOTOGRAPHS):
        photograph(data / f"val/{number}.jpg", number)
    shown = {int(i) for i in np.linspace(0, training - 1, 8).astype(int)}
    for number in shown:
        photograph(data / f"train/{number:07}.jpg", number)
    paths = [f"val/{i % PHOTOGRAPHS}.jpg" for i in range(n)]
    said = {"labels": labels, "probabilities": metrics.softmax(logits)}
    save_file(said, run / "predictions/val.safetensors")
    held_out = [(path, names[label], "val") for path, label in zip(paths, labels, strict=True)]
    write(run / "predictions/val.csv", held_out)
    trained = ((f"train/{i:07}.jpg", names[i % classes], "train") for i in range(training))
    write(run / "split.csv", [*trained, *held_out])
    write(run / "quarantine.csv", [("broken.jpg", "empty", "")], ("path", "reason", ""))
    config = {"data": str(data), "model": "resnet50", "augment": "light", "size": 224, "seed": 0}
    texts = {"config.yaml": config, "classes.json": names, "env.json": {"asked": {}}}
    for name, value in texts.items():
        (run / name).write_text(json.dumps(value))
    records = [
        {"kind": "validation", "epoch": e, "progress": e / 90, "step": e, "train_loss": 7 / e,
         "val_loss": 7 / e, "val_accuracy": e / 120, "learning_rate": 0.1}
        for e in range(1, 91)
    ]  # fmt: skip
    spent = {"wait": 90.0, "compute": 8000.0, "decode": 12000.0, "render": 3000.0}
    end = {"kind": "end", "temperature": 1.2, "seconds": 9000.0, "spent": spent}
    lines = [json.dumps(record) for record in ({"kind": "start", "found": n}, *records, end)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return run


def write(file, rows, header=("path", "label", "split")):
    with file.open("w", newline="") as page:
        table = csv.writer(page)
        table.writerow(header)
        table.writerows(rows)


def measure(run, rounds):
    found = []
    for _ in range(rounds):
        child = [sys.executable, "-c", CHILD, str(run)]
        said = subprocess.run(child, check=True, capture_output=True, text=True).stdout
        found.append([float(word) for word in said.splitlines()[-1].split()])
    seconds, megabytes = zip(*found, strict=True)
    return {
        "n": rounds,
        "seconds": {
            "median": round(statistics.median(seconds), 2),
            "min": round(min(seconds), 2),
            "max": round(max(seconds), 2),
        },
        "peak_MB": round(max(megabytes)),
        "page_MB": round((run / "report.html").stat().st_size / 1e6, 2),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    results = {"machine": machine.describe()}
    for name, (classes, n, training) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            run = generate(Path(folder), classes, n, training)
            figures = {"validation images": n, "training images": training}
            results[name] = figures | measure(run, options.rounds)
        print(name, results[name], flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
