"""What a step of fine-tuning costs: with a twin of frozen stages, with remembered ones, by hand.

    python benchmarks/bench_tuning.py [--rounds 11] [--out FILE]

MobileNetV2 at 224 pixels, batches of 32, one thread, AdamW on what learns, batch-norm statistics
kept (polyak's default) unless --learn-norms. "by hand" is PyTorch alone: the frozen part under
no_grad, then the learning part; "learning part" is that part on maps that are there already.
Contenders take turns.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from polyak import machine
from polyak.data.loader import Batch
from polyak.files import write_atomic
from polyak.networks import build
from polyak.optim import AdamW
from polyak.transfer import Tuning
from polyak.transfer.memory import FrozenFeatureCache

SIZE, CLASSES = 32, 10


def parts(network):
    """Cut MobileNetV2 where `few` begins to learn: (frozen, learning)."""
    frozen = nn.Sequential(network.conv_stem, network.bn1, *network.blocks[:5])
    rest = network.conv_head, network.bn2, network.global_pool, network.classifier
    return frozen, nn.Sequential(*network.blocks[5:], *rest)


def contenders(images, labels, norms):
    """Make the steps under test, by name."""
    numbers = np.arange(SIZE)

    def network():
        torch.manual_seed(0)
        return build("mobilenetv2_100", CLASSES).to(memory_format=torch.channels_last)

    def step(forward, optimizer):
        cross_entropy(forward(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    def tuned(strategy, remember=False):
        one = network()
        tuning = Tuning(one, strategy, norms=norms)
        optimizer = AdamW(tuning.groups(1e-4, 0.05), lr=1e-4)
        memory = FrozenFeatureCache.of(
            one, tuning, SIZE * remember, float("inf") if remember else 0
        )
        if remember:
            list(memory.fill([Batch(images, labels, numbers)]))
        one.train()
        tuning.set_eval()
        forward = one if memory is None else lambda images: memory(images, numbers)
        return lambda: step(lambda: forward(images), optimizer)

    def by_hand(known):
        frozen, rest = parts(network().train())
        frozen.eval()
        for module in rest.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(norms)
        optimizer = AdamW(rest.parameters(), lr=1e-4)

        def maps():
            with torch.no_grad():
                return frozen(images)

        kept = maps()
        return lambda: step(lambda: rest(kept if known else maps()), optimizer)

    return {
        "few": tuned("few"), "few, by hand": by_hand(known=False),
        "few, remembered": tuned("few", remember=True), "learning part": by_hand(known=True),
        "many": tuned("many"), "all": tuned("all"),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--learn-norms", action="store_true")
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "tuning.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.randn(SIZE, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(SIZE) % CLASSES
    steps = contenders(images, labels, given.learn_norms)
    took = {name: [] for name in steps}
    for round_ in range(given.rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if round_:
                took[name].append(1000 * (time.perf_counter() - began))

    def spread(values):
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}

    def ratio(one, other):
        return spread(np.divide(took[one], took[other]))

    found = {"milliseconds a step": {name: spread(values) for name, values in took.items()}}
    found["ratio"] = {
        "few to by hand": ratio("few", "few, by hand"),
        "remembered to the learning part": ratio("few, remembered", "learning part"),
        "few to all": ratio("few", "all"),
        "remembered to all": ratio("few, remembered", "all"),
    }
    print(json.dumps(found, indent=1))
    about = machine.describe() | {"threads": 1, "rounds": given.rounds}
    about["batch-norm statistics"] = "learnt" if given.learn_norms else "kept"
    write_atomic(given.out, json.dumps({"machine": about, "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
