"""Augmentation on one thread: polyak, torchvision v2 and albumentations, the same JPEG files.

    python benchmarks/bench_augment.py FOLDER [--rounds 5] [--pictures 60] [--out FILE.json]

Contenders take turns, every round in another order; what counts is the processor's time, so that
other programs on the machine do not favour anybody, and the median over rounds. Decoders: polyak
and "decode only" use simplejpeg, albumentations OpenCV, torchvision Pillow, as their users do.
torchvision has no lens and kornia's is another formula: they draw the list without it.
"""

import argparse
import io
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.transforms import v2

from polyak.augment import Policy, decode_scale, render, render_batch

MEAN, STD, SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224)
CROPPED = Policy.parse("crop(scale=0.35..1, ratio=0.75..1.3333) | flip(p=0.5)")


def polyak(policy):
    out = np.empty((*SIZE, 3), np.float32)

    def draw(files, epoch):
        headers = [simplejpeg.decode_jpeg_header(file)[:2] for file in files]
        plan = policy.plan(0, epoch, np.arange(len(files)), headers, SIZE, MEAN, STD)
        scales = decode_scale(plan, SIZE)
        for file, row, scale, (height, width) in zip(files, plan, scales, headers, strict=True):
            least = (-(-height // scale), -(-width // scale)) if scale > 1 else (0, 0)
            image = simplejpeg.decode_jpeg(file, min_height=int(least[0]), min_width=int(least[1]))
            render(image, row, out)

    return draw


def decode_only(files, epoch):
    for file in files:
        simplejpeg.decode_jpeg(file)


def albumentations(whole):
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)
    steps = [A.RandomResizedCrop(SIZE, scale=(0.35, 1)), A.HorizontalFlip()]
    if whole:
        steps += [
            A.Affine(
                scale={"x": (0.93, 1.07), "y": (0.93, 1.07)},
                translate_percent=0.04,
                rotate=(-12, 12),
                shear=(-6, 6),
                border_mode=cv2.BORDER_REFLECT,
                p=1,
            ),
            A.OpticalDistortion(distort_limit=(-0.1, 0.2), p=1),
            A.ColorJitter(0.3, 0.3, 0.3, 0, p=1),
            A.FancyPCA(0.1, p=1),
        ]
    transform = A.Compose([*steps, A.Normalize(MEAN, STD)])

    def draw(files, epoch):
        for file in files:
            image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
            transform(image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    return draw


def torchvision(whole):
    mode = v2.InterpolationMode.BILINEAR
    steps = [v2.PILToTensor(), v2.RandomResizedCrop(SIZE, (0.35, 1)), v2.RandomHorizontalFlip()]
    if whole:
        steps += [
            v2.RandomAffine(12, (0.04, 0.04), (0.93, 1.07), (-6, 6, -6, 6), interpolation=mode),
            v2.ColorJitter(0.3, 0.3, 0.3),
        ]
    transform = v2.Compose([*steps, v2.ToDtype(torch.float32, True), v2.Normalize(MEAN, STD)])

    def draw(files, epoch):
        for file in files:
            transform(Image.open(io.BytesIO(file)).convert("RGB"))

    return draw


def small_polyak(images, epoch):
    n = len(images)
    sizes, out = np.full((n, 2), 32), np.empty(images.shape, np.float32)
    policy = Policy.named("light")
    render_batch(images, policy.plan(0, epoch, np.arange(n), sizes, (32, 32), MEAN, STD), out)


def small_torchvision():
    steps = [v2.RandomCrop(32, 2, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    transform = v2.Compose([*steps, v2.ToDtype(torch.float32, True), v2.Normalize(MEAN, STD)])

    def draw(images, epoch):
        for image in torch.from_numpy(images).permute(0, 3, 1, 2):
            transform(image)

    return draw


def race(contenders, pictures, rounds):
    rates = {name: [] for name in contenders}
    for draw in contenders.values():
        draw(pictures[:8], 0)
    for turn in range(rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin = time.process_time()
            contenders[name](pictures, turn + 1)
            rates[name].append(len(pictures) / (time.process_time() - begin))
    return {
        name: {
            "pictures_a_second": round(statistics.median(found), 1),
            "lowest": round(min(found), 1),
            "highest": round(max(found), 1),
        }
        for name, found in rates.items()
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    home = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache/polyak-data")
    options.add_argument("folder", type=Path, nargs="?", default=home / "hymenoptera/train")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--pictures", type=int, default=60)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    torch.set_num_threads(1)
    files = [path.read_bytes() for path in sorted(options.folder.rglob("*.jpg"))]
    files = files[:: max(len(files) // options.pictures, 1)][: options.pictures]
    tiny = np.random.default_rng(0).integers(0, 256, (2048, 32, 32, 3), dtype=np.uint8)
    rounds = options.rounds
    lists = {
        "whole list": {
            "decode only": decode_only,
            "polyak": polyak(Policy.named("lecture")),
            "albumentations": albumentations(True),
            "torchvision": torchvision(True),
        },
        "crop and flip": {
            "decode only": decode_only,
            "polyak": polyak(CROPPED),
            "albumentations": albumentations(False),
            "torchvision": torchvision(False),
        },
    }
    results = {name: race(contenders, files, rounds) for name, contenders in lists.items()}
    small = {"polyak": small_polyak, "torchvision": small_torchvision()}
    results["32 pixels, from memory"] = race(small, tiny, rounds)
    for found in results.values():
        for name, one in found.items():
            rate = found["polyak"]["pictures_a_second"] / one["pictures_a_second"]
            one["polyak_is_faster_by"] = round(rate, 2)
            print(f"{name:16}", one)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    packages = ("numpy", "numba", "torch", "torchvision", "simplejpeg", "pillow")
    packages += ("albumentations", "opencv-python-headless")
    page = {
        "machine": machine | {"python": platform.python_version(), "threads": 1},
        "versions": {name: version(name) for name in packages},
        "time": "processor time, median of rounds",
        "rounds": rounds,
        "pictures": len(files),
        "results": results,
    }
    if options.out:
        options.out.write_text(json.dumps(page, indent=1) + "\n")


if __name__ == "__main__":
    main()
