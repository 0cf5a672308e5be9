"""Members one after another against members stacked in one pass (torch.func), on this processor.

    python benchmarks/bench_stacked.py [--out FILE]

Three members each: linear heads on cached features (512 numbers, 10 classes, batches of 256), and
`compact` at widths 16, 64, 64 on images of 32 pixels (batches of 128). One step is forward, loss,
backward for all members; the rule afterwards costs the same either way. Median of 15 after 3.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from polyak import machine
from polyak.files import write_atomic
from polyak.networks.build import build


def heads():
    return [nn.Linear(512, 10) for _ in range(3)], torch.randn(256, 512)


def networks():
    made = [build("compact", 10, size=(32, 32), widths=(16, 64, 64)) for _ in range(3)]
    for one in made:
        one.to(memory_format=torch.channels_last).train()
    return made, torch.randn(128, 3, 32, 32).to(memory_format=torch.channels_last)


def in_turn(models, inputs, labels):
    def step():
        for model in models:
            model.zero_grad(set_to_none=True)
            cross_entropy(model(inputs), labels).backward()

    return step


def stacked(models, inputs, labels):
    parameters, buffers = stack_module_state(models)
    shell = models[0]

    def loss(parameters, buffers):
        return cross_entropy(functional_call(shell, (parameters, buffers), (inputs,)), labels)

    gradients = vmap(grad(loss), randomness="different")
    return lambda: gradients(parameters, buffers)


def median(step, times=15, untimed=3):
    took = []
    for _ in range(times + untimed):
        began = time.perf_counter()
        step()
        took.append(time.perf_counter() - began)
    return statistics.median(took[untimed:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "stacked.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, make in (("linear heads", heads), ("compact", networks)):
        models, inputs = make()
        labels = torch.randint(0, 10, (len(inputs),))
        ways = {"in turn": in_turn, "stacked": stacked}
        rounds = [{way: median(how(models, inputs, labels)) for way, how in ways.items()}
                  for _ in range(3)]  # fmt: skip
        ratios = [one["in turn"] / one["stacked"] for one in rounds]
        found[name] = {"milliseconds": {w: round(1e3 * min(r[w] for r in rounds), 3) for w in ways},
                       "times faster": [round(ratio, 2) for ratio in ratios]}  # fmt: skip
        print(name, found[name], flush=True)
    about = machine.describe() | {"threads": torch.get_num_threads()}
    write_atomic(given.out, json.dumps({"machine": about, "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
