"""Loader throughput: polyak, torchvision v2 + DataLoader, and timm's loader on the same files.

    python benchmarks/bench_loader.py --rounds 5 --out benchmarks/results/loader.json

Every contender does the same work with the same number of threads or processes: decode, random
crop, flip, (on photographs) brightness, contrast and saturation, normalise, batch. Start-up of
workers and one whole epoch are left out for everybody; then the contenders take turns, and the
medians count. "kept" is polyak's default where the decoded images fit into memory (from the
second epoch on); "files" decodes every image every time, as the others do.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from polyak import machine
from polyak.augment import Policy
from polyak.data import Images, Loader, find, scan

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETS = {  # name: (folder, result size, batch size, most images)
    "photographs of 500x375 to 224": ("hymenoptera/train", 224, 32, 244),
    "photographs of 256x192 to 160": ("clothing10/train", 160, 64, 1500),
    "images of 32x32": ("cifar10/train", 32, 512, 12_800),
}


def polyak_loader(data, size, batch, threads, budget):
    images = Images.open(data, threads, budget)
    loader = Loader(
        images,
        data.labels,
        Policy.named("light"),
        size=(size, size),
        mean=MEAN,
        std=STD,
        batch_size=batch,
        seed=0,
        threads=threads,
    )
    epochs = iter(range(10**6))
    return lambda: (len(b.labels) for b in loader.epoch(next(epochs)))


def torchvision_loader(files, size, batch, workers):
    from torchvision.transforms import v2

    if size == 32:
        draw = [v2.RandomCrop(32, padding=2, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    else:
        draw = [
            v2.RandomResizedCrop(size, scale=(0.35, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.2, 0.2, 0.2),
        ]
    ending = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    # the order that torchvision's own guide calls fast: tensors of uint8 first
    transform = v2.Compose([v2.ToImage(), *draw, *ending])
    loader = torch.utils.data.DataLoader(
        Files(files, transform),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        drop_last=True,
    )
    return lambda: (len(labels) for _, labels in loader)


def timm_loader(files, size, batch, workers):
    from timm.data import create_loader

    loader = create_loader(
        Files(files, None),
        input_size=(3, size, size),
        batch_size=batch,
        is_training=True,
        use_prefetcher=False,
        scale=(0.35, 1.0) if size > 32 else (0.75, 1.0),
        color_jitter=(0.2, 0.2, 0.2) if size > 32 else None,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=workers,
        persistent_workers=True,
    )
    return lambda: (len(labels) for _, labels in loader)


class Files(torch.utils.data.Dataset):
    def __init__(self, files, transform):
        self.files, self.transform = files, transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        from PIL import Image

        path, label = self.files[i]
        with Image.open(path) as image:
            picture = image.convert("RGB")
        return self.transform(picture), label


def rate(start):
    begin, n = time.perf_counter(), 0
    for count in start():
        n += count
    return n / (time.perf_counter() - begin)


def compare(folder, size, batch, most, options):
    data = scan(find(folder), threads=options.threads)
    step = max(1, len(data) // most)
    data = data.take(np.arange(0, len(data), step)[:most])
    files = [(data.source.place(i), int(data.labels[i])) for i in range(len(data))]
    contenders = {
        "polyak, kept": polyak_loader(data, size, batch, options.threads, None),
        "polyak, files": polyak_loader(data, size, batch, options.threads, 0),
        "torchvision v2": torchvision_loader(files, size, batch, options.threads),
        "timm": timm_loader(files, size, batch, options.threads),
    }
    for start in contenders.values():
        rate(start)
    rates = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, start in contenders.items():
            rates[name].append(rate(start))
    return {"pictures": len(data), "batch": batch, "size": size, **summary(rates)}


def summary(rates):
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max(medians["torchvision v2"], medians["timm"])
    return {
        "images_per_second": {
            name: {"median": round(medians[name]), "min": round(min(v)), "max": round(max(v))}
            for name, v in rates.items()
        },
        "kept_to_best_peer": round(medians["polyak, kept"] / best, 2),
        "files_to_best_peer": round(medians["polyak, files"] / best, 2),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    torch.set_num_threads(1)
    root = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache" / "polyak-data")
    results = {"machine": machine.describe(), "rounds": options.rounds, "threads": options.threads}
    for name, (folder, *how) in SETS.items():
        if (root / folder).is_dir():
            results[name] = compare(root / folder, *how, options)
            print(name, json.dumps(results[name], indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
