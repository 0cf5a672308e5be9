"""What predicting with M members costs, in predictions with one: images are prepared once.

    python benchmarks/bench_members.py [--members 5] [--out FILE]

2,000 images of 32 pixels in memory through `compact` (widths 16, 64, 64), and 40 of 256
pixels through a ResNet-10 at 224, one thread. Single and joined take turns; median of 3 rounds.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from polyak import machine
from polyak.data.images import Images
from polyak.files import write_atomic
from polyak.model import Classifier, Member, join
from polyak.networks.build import build, spec
from polyak.networks.preprocessing import Preprocessing

CASES = {
    "compact, 32 pixels": ("compact", {"size": (32, 32), "widths": (16, 64, 64)}, 32, 32, 2000),
    "resnet10t, 224 pixels": ("resnet10t", {}, 256, 224, 40),
}


def classifier(name, options, size):
    network = build(name, 10, **options).to(memory_format=torch.channels_last)
    page = Preprocessing((size, size), (0.5,) * 3, (0.25,) * 3, 0.875)
    return Classifier([Member(network, spec(name, 10, **options), tuple("abcdefghij"), page)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=5)
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "members.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for case, (name, options, side, size, count) in CASES.items():
        shape = (count, side, side, 3)
        pictures = Images.of(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
        members = [classifier(name, options, size) for _ in range(given.members)]
        whole, took = join(members), {"single": [], "joined": []}
        for round_ in range(4):
            for way, one in (("single", members[0]), ("joined", whole)):
                began = time.perf_counter()
                one.probabilities(pictures)
                if round_:
                    took[way].append(time.perf_counter() - began)
        single, joined = (statistics.median(took[way]) for way in ("single", "joined"))
        found[case] = {
            "pictures": count,
            "seconds": {"single": round(single, 3), "joined": round(joined, 3)},
            "of M single passes": round(joined / single / given.members, 3),
        }
        print(case, found[case], flush=True)
    about = machine.describe() | {"threads": torch.get_num_threads(), "members": given.members}
    write_atomic(given.out, json.dumps({"machine": about, "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
