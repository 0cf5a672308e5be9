"""What polyak's loop costs over a bare PyTorch loop: same network, same batches, taking turns.

    python benchmarks/bench_loop.py --rounds 9 --out benchmarks/results/loop.json

Bare: zero_grad, forward, loss, backward, torch.optim.SGD(nesterov). polyak: the training of
a run with checks of the loss, clock, events, seeds and schedule. A second row adds Polyak's
average on both sides, kept by torch's AveragedModel in the bare loop.
"""

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from whole import keep

from polyak import machine
from polyak.data.loader import Batch
from polyak.networks.build import build
from polyak.optim import Average, Nesterov
from polyak.training.distributed import Process
from polyak.training.pace import Clock, Pace, Pacer
from polyak.training.signals import Stop
from polyak.training.step import Rates, Targets, TrainingStep
from polyak.training.training import Training

BATCH, SIDE = 128, 32


class InMemory:
    """Batches that cost nothing to make."""

    def __init__(self, number):
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randn(number, BATCH, 3, SIDE, SIDE, generator=generator)
        labels = torch.randint(0, 10, (number, BATCH), generator=generator)
        self.batches = [
            Batch(x.contiguous(memory_format=torch.channels_last), y, np.arange(BATCH))
            for x, y in zip(pictures, labels, strict=True)
        ]
        self.batch_size = self.images_per_step = BATCH
        self.labels = np.zeros(BATCH * number)
        self.images = SimpleNamespace(files=[Path("x")] * BATCH)

    def __len__(self):
        return len(self.batches)

    def epoch(self, number, start=0):
        yield from islice(self.batches, start, None)


def network():
    torch.manual_seed(0)
    made = build("compact", 10, size=(SIDE, SIDE), widths=(32, 64, 128))
    return made.to(memory_format=torch.channels_last)


def bare(data, average):
    model = network()
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learnt, lr=0.01, momentum=0.9, nesterov=True)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99)) if average else None

    def run():
        model.train()
        for batch in data.epoch(0):
            loss = functional.cross_entropy(model(batch.images), batch.labels, label_smoothing=0.2)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if mean is not None:
                mean.update_parameters(model)

    return run


def ours(data, average):
    model = network()
    learnt = [p for p in model.parameters() if p.requires_grad]
    averages = [Average(model, half_life=70)] if average else []
    optimizer = Nesterov(learnt, lr=0.01, momentum=0.9, averages=averages)
    rates, targets = Rates(lambda progress: 1.0, [0.01]), Targets(10, label_smoothing=0.2)
    step = TrainingStep(model, optimizer, averages, rates, targets)
    validator = SimpleNamespace(due=lambda progress: False, patience_is_over=False, left=0)
    run = SimpleNamespace(journal_length=lambda: 0, checkpoints=Path(tempfile.mkdtemp()))
    session = SimpleNamespace(
        clock=Clock(None, time.monotonic()), stop=Stop(), process=Process(),
        resolved=SimpleNamespace(save_every=1e9),
    )  # fmt: skip
    training = Training(session, step, data, validator, Pacer(Pace(1e-9)), run)
    return lambda: list(islice(training.events(), len(data)))


def compare(data, rounds, average):
    contenders = {"bare": bare(data, average), "polyak": ours(data, average)}
    seconds = {name: [] for name in contenders}
    for number in range(rounds + 1):
        # the order changes from round to round: whoever comes second finds warmer caches
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            began = time.perf_counter()
            contenders[name]()
            if number:
                seconds[name].append((time.perf_counter() - began) / len(data))
    ratios = [a / b for a, b in zip(seconds["polyak"], seconds["bare"], strict=True)]
    return {
        "milliseconds a step": {
            n: round(1e3 * statistics.median(s), 2) for n, s in seconds.items()
        },
        "polyak / bare": {
            "median": round(statistics.median(ratios), 4),
            "min": round(min(ratios), 4),
            "max": round(max(ratios), 4),
        },
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    machine.prepare(machine.threads().compute)
    data = InMemory(options.steps)
    results = {
        "machine": machine.describe(),
        "rounds": options.rounds,
        "steps a round": options.steps,
        "plain": compare(data, options.rounds, False),
        "with average": compare(data, options.rounds, True),
    }
    keep(results, options.out)


if __name__ == "__main__":
    main()
