"""Raw against averaged weights on CIFAR-10, with and without re-estimated batch-norm statistics.

    python benchmarks/study_averages.py FOLDER [--epochs 2] [--seeds 3] [--out FILE]

FOLDER holds CIFAR-10's training images by class; a tenth is held out to measure on. All averages
of a run ride along in one training, so that they see the very same weights. The rate is polyak's
default for `compact` under two schedules: `constant`, where averaging is all that settles the
weights, and `triangular`, which falls nearly to zero by itself. A result that is in FILE already is
not measured again.
"""

import argparse
import json
import statistics
import time
from itertools import islice
from pathlib import Path

import torch
from card import insert

from polyak import machine, optim
from polyak.files import write_atomic
from polyak.inference import log_probabilities
from polyak.jobs.command import Command
from polyak.jobs.open import open_session
from polyak.metrics import accuracy_and_nll
from polyak.recipe import make
from polyak.training.distributed import Process
from polyak.training.loop import fit
from polyak.training.pace import Pace
from polyak.training.signals import Stop
from polyak.training.validation import BATCH_NORM_EPOCH, BATCH_NORM_IMAGES

HALF_LIVES = (0.01, 0.02, 0.04, 0.08, 0.16)  # shares of the run
SCHEDULES = ("constant", "triangular")
WIDTHS = (16, 64, 64)


def averages(network, steps):
    """Every average under test, by name."""
    made = {
        f"half-life {share:.0%} of the run": optim.Average(network, half_life=share * steps)
        for share in HALF_LIVES
    }
    uniform = optim.Average(network, uniform=True, start=round(0.75 * steps))
    return made | {"uniform over the last quarter": uniform}


def trained(recipe):
    """Train one network; return it, its averages, its loader, its session and the seconds."""
    began = time.monotonic()
    session = open_session(Command(recipe, Process(), Stop(), began))
    network = session.network()
    loader = session.loader(network)
    steps = round(session.resolved.epochs * len(loader))
    step = session.step(network, steps)
    kept = averages(network.module, steps)
    step.optimizer.averages = list(kept.values())
    for _ in fit(step, loader, Pace(1 / steps)):
        pass
    return network, kept, loader, session, time.monotonic() - began


def measure(recipe):
    """Accuracy and NLL of raw weights and of every average, one view each."""
    made, kept, loader, session, seconds = trained(recipe)
    network, held_out = made.module, session.data.val

    def look():
        log_probs, _ = log_probabilities(network, held_out.images, made.preprocessing)
        measured = accuracy_and_nll(log_probs, held_out.labels)
        return dict(zip(("accuracy", "nll"), measured, strict=True))

    def pictures():
        batches = islice(loader.epoch(BATCH_NORM_EPOCH), BATCH_NORM_IMAGES // loader.batch_size)
        return (batch.images for batch in batches)

    found = {"raw": {"as trained": look()}}
    for name, average in kept.items():
        found[name] = {}
        for way, batches in (("as trained", None), ("re-estimated", pictures())):
            network.eval()
            with average.swapped_in(network, batches) if batches else average.swapped_in(network):
                found[name][way] = look()
    with optim.batch_norm.refreshed_batch_norm(network, pictures()):
        found["raw"]["re-estimated"] = look()
    return {"seconds": round(seconds, 1), "n": len(held_out), "found": found}


def summary(runs):
    """Mean and range over seeds of each schedule, average and way."""
    table = {}
    for schedule in SCHEDULES:
        done = [run["found"] for name, run in runs.items() if name.startswith(schedule)]
        for kind, way in ((k, w) for k in (done[0] if done else ()) for w in done[0][k]):
            for figure in ("accuracy", "nll"):
                values = [found[kind][way][figure] for found in done]
                table.setdefault(schedule, {}).setdefault(kind, {}).setdefault(way, {})[figure] = {
                    "mean": round(statistics.mean(values), 4),
                    "min": round(min(values), 4),
                    "max": round(max(values), 4),
                }
    return table


def table(summed):
    """Lay the summary out: accuracy in percent, its range over seeds, and NLL, for both ways."""
    lines = []
    for schedule, kinds in summed.items():
        lines += [
            f"| {schedule} rate | statistics as trained | NLL | statistics re-estimated | NLL |",
            "|---|---|---|---|---|",
        ]
        for kind, ways in kinds.items():
            cells = []
            for way in ("as trained", "re-estimated"):
                mean, low, high = (100 * ways[way]["accuracy"][k] for k in ("mean", "min", "max"))
                cells.append(f"{mean:.1f} ({low:.1f} to {high:.1f})")
                cells.append(f"{ways[way]['nll']['mean']:.3f}")
            lines.append(f"| {kind} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/averages.json")
    given = parser.parse_args()
    runs = json.loads(given.out.read_text())["runs"] if given.out.exists() else {}
    for seed in range(given.seeds):
        for schedule in SCHEDULES:
            name = f"{schedule}, seed {seed}"
            if name not in runs:
                recipe = make(
                    data=given.data, epochs=given.epochs, seed=seed, schedule=schedule,
                    widths=WIDTHS, average=0, precision="float32", threads=1,
                )  # fmt: skip
                runs[name] = measure(recipe)
                raw = runs[name]["found"]["raw"]["as trained"]
                print(
                    f"{name}: raw {raw['accuracy']:.2%}, {runs[name]['seconds']:.0f} s", flush=True
                )
            about = machine.describe() | {"threads": torch.get_num_threads()}
            choices = {"epochs": given.epochs, "widths": WIDTHS, "seeds": given.seeds}
            result = {"machine": about, "choices": choices, "summary": summary(runs), "runs": runs}
            write_atomic(given.out, json.dumps(result, indent=1) + "\n")
    insert("averages", "averages", table(summary(runs)))


if __name__ == "__main__":
    main()
