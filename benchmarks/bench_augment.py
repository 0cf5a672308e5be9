"""Augmentation against its peers: the same JPEG files, one thread, contenders in turns.

    OMP_NUM_THREADS=1 python benchmarks/bench_augment.py [FOLDER] [--rounds 3] [--pictures 300]

Files go in groups of 60; for every group all contenders take turns, in another order each time.
What counts is processor time, so that other programs favour nobody; a ratio is the median of the
ratios within a turn. Only the two threads are timed by the clock. Peers that are not installed
(`pip install -e .[bench]`, nvidia-dali-cuda120) are left out and named. See augment_peers.py.
"""

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import augment_peers as peers
import numpy as np
import simplejpeg
import torch
from card import insert

from polyak import machine
from polyak.augment import Policy, decode_scale, render, render_batch

MEAN, STD, SIZE = peers.MEAN, peers.STD, peers.SIZE
CROPPED = Policy.parse("crop(scale=0.35..1, ratio=0.75..1.3333) | flip(p=0.5)")
GROUP = 60
PACKAGES = ("numpy", "numba", "torch", "torchvision", "simplejpeg", "pillow", "albumentations",
            "opencv-python-headless", "kornia", "nvidia-dali-cuda120")  # fmt: skip


def polyak(policy):
    def draw(files, epoch):
        out = np.empty((*SIZE, 3), np.float32)
        headers = [simplejpeg.decode_jpeg_header(file)[:2] for file in files]
        plan = policy.plan(0, epoch, np.arange(len(files)), headers, SIZE, MEAN, STD)
        scales = decode_scale(plan, SIZE).tolist()
        for file, row, scale, (height, width) in zip(files, plan, scales, headers, strict=True):
            least = {"min_height": -(-height // scale), "min_width": -(-width // scale)}
            small = {**least, "min_factor": scale} if scale > 1 else {}
            render(simplejpeg.decode_jpeg(file, **small), row, out)

    return draw


def decode_only(files, epoch):
    for file in files:
        simplejpeg.decode_jpeg(file)


def small_polyak(images, epoch):
    n = len(images)
    sizes, out = np.full((n, 2), 32), np.empty(images.shape, np.float32)
    policy = Policy.named("light")
    render_batch(images, policy.plan(0, epoch, np.arange(n), sizes, (32, 32), MEAN, STD), out)


def contenders(whole):
    found = {
        "polyak": lambda: polyak(Policy.named("lecture") if whole else CROPPED),
        "decode only": lambda: decode_only,
        "albumentations": lambda: peers.albumentations(whole),
        "torchvision": lambda: peers.torchvision(whole),
        "kornia (no lens)": lambda: peers.kornia(whole),
        "DALI (no lens)": lambda: peers.dali(whole, GROUP),
    }
    if whole:
        found["torchvision (no lens)"] = lambda: peers.torchvision(whole, lens=False)
    made = {}
    for name, make in found.items():
        try:
            made[name] = make()
        except Exception as error:  # a peer that does not run here is named and left out
            print(f"left out: {name}: {type(error).__name__}: {str(error)[:100]}", flush=True)
    return made


def race(made, groups, rounds):
    """Let contenders take turns; give figures by name, those of polyak first."""
    seconds = {name: [] for name in made}
    for draw in made.values():
        draw(groups[0], 0)  # compile, fill caches
    for turn in range(rounds * len(groups)):
        names = list(made)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin = time.process_time()
            made[name](groups[turn % len(groups)], turn + 1)
            seconds[name].append((time.process_time() - begin) / len(groups[turn % len(groups)]))
    return {name: figures(found, seconds["polyak"]) for name, found in seconds.items()}


def figures(found, ours):
    rates = [1 / second for second in found]
    ratios = sorted(other / own for other, own in zip(found, ours, strict=True))
    quarter = len(ratios) // 4
    return {
        "pictures_a_second": _range(rates, 1),
        "polyak_is_faster_by": {
            "median": round(statistics.median(ratios), 3),
            "min": round(ratios[quarter], 3),
            "max": round(ratios[-1 - quarter], 3),
        },
    }


def _range(values, digits):
    middle = statistics.median(values)
    ends = {"min": round(min(values), digits), "max": round(max(values), digits)}
    return {"median": round(middle, digits), **ends}


def two_threads(files, rounds=7):
    """How much more two threads draw than one, by the clock; decoding alone beside it."""
    halves = [files[::2], files[1::2]]
    found = {"lecture": [], "decode only": []}
    for turn in range(rounds):
        for name, draw in (
            ("lecture", polyak(Policy.named("lecture"))),
            ("decode only", decode_only),
        ):
            times = []
            for threads in (1, 2):
                with ThreadPoolExecutor(threads) as pool:
                    begin = time.perf_counter()
                    list(pool.map(draw, halves, [turn, turn]))
                    times.append(time.perf_counter() - begin)
            found[name].append(times[0] / times[1])
    return {name: _range(ratios, 2) for name, ratios in found.items()}


def table(page):
    """Lay the page out as the card shows it."""
    where = page["machine"]
    lines = [
        f"{where['cpu']}, one thread, {page['pictures']} photographs, "
        f"{page['rounds']} rounds; medians, (lowest to highest) of groups of {GROUP}, ratios with "
        "their quartiles.",
        "",
        "| from JPEG bytes | who | images a second | polyak is faster by |",
        "|---|---|---|---|",
    ]
    for name in ("whole list", "crop and flip", "32 pixels, from memory"):
        for who, found in page[name].items():
            rate, ratio = found["pictures_a_second"], found["polyak_is_faster_by"]
            lines.append(
                f"| {name} | {who} | {rate['median']:,.0f} ({rate['min']:,.0f} to "
                f"{rate['max']:,.0f}) | {ratio['median']:.2f} ({ratio['min']:.2f} to "
                f"{ratio['max']:.2f}) |"
            )
    two = page["two threads against one"]
    lines += ["", "Two threads against one, by the clock: " + "; ".join(
        f"{who} {found['median']} ({found['min']} to {found['max']})" for who, found in two.items()
    ) + "."]  # fmt: skip
    return "\n".join(lines)


def versions():
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    home = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache/polyak-data")
    options.add_argument("folder", type=Path, nargs="?", default=home / "hymenoptera")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--pictures", type=int, default=300)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results/augment.json")
    options = options.parse_args()
    torch.set_num_threads(1)
    files = [path.read_bytes() for path in sorted(options.folder.rglob("*.jpg"))]
    files = files[:: max(len(files) // options.pictures, 1)][: options.pictures]
    groups = [files[i : i + GROUP] for i in range(0, len(files) - GROUP + 1, GROUP)]
    tiny = np.random.default_rng(0).integers(0, 256, (2048, 32, 32, 3), dtype=np.uint8)
    page = {
        "machine": machine.describe() | {"versions": versions()},
        "pictures": len(groups) * GROUP,
        "rounds": options.rounds,
        "whole list": race(contenders(True), groups, options.rounds),
        "crop and flip": race(contenders(False), groups, options.rounds),
        "32 pixels, from memory": race(
            {"polyak": small_polyak, "torchvision": peers.small_torchvision()}, [tiny], 5
        ),
        "two threads against one": two_threads(groups[0]),
    }
    options.out.write_text(json.dumps(page, indent=1) + "\n")
    insert("augmentation", "speed", table(page))
    print(json.dumps({k: v for k, v in page.items() if k != "machine"}, indent=1))


if __name__ == "__main__":
    main()
