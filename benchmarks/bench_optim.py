"""polyak.optim against torch.optim, and against the speed of memory.

    python benchmarks/bench_optim.py [--repeats 21] [--threads 2] [--device cuda] [--out FILE]

Contestants take turns, one step each, in rotating order; a ratio is the median of the ratios within
a turn, so that a slow moment of the machine hits all alike. Half of the turns are taken by
contestants whose weights were allocated in the opposite order. Numbers come with quartiles.
"""

import argparse
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision

import polyak
from polyak import optim
from polyak.files import write_atomic

SGD, RMS = torch.optim.SGD, torch.optim.RMSprop
# name: (polyak's class, options, torch's class, options, streams of memory that a step moves)
RULES = {
    "sgd": (optim.SGD, {}, SGD, {}, 3),
    "momentum": (optim.Momentum, {"momentum": 0.9}, SGD, {"momentum": 0.9}, 5),
    "nesterov": (optim.Nesterov, {"momentum": 0.9}, SGD, {"momentum": 0.9, "nesterov": True}, 5),
    "adagrad": (optim.AdaGrad, {}, torch.optim.Adagrad, {}, 5),
    "rmsprop": (optim.RMSProp, {}, RMS, {}, 5),
    "adam": (optim.Adam, {}, torch.optim.Adam, {}, 7),
    "adamw": (optim.AdamW, {}, torch.optim.AdamW, {}, 7),
}


def shapes(name):
    with torch.device("meta"):
        if name == "resnet50":
            model = torchvision.models.resnet50()
        elif name == "vit_small":
            model = timm.create_model("vit_small_patch16_224")
        else:
            return [(64, 33)] * 30 + [(64,)] * 30
    return [tuple(p.shape) for p in model.parameters()]


class Weights(torch.nn.Module):
    """Parameters of given shapes, with gradients in place."""

    def __init__(self, shapes):
        super().__init__()
        made = [torch.nn.Parameter(torch.randn(shape) * 0.1) for shape in shapes]
        self.weights = torch.nn.ParameterList(made)
        for p in made:
            p.grad = torch.randn_like(p) * 0.01


def interleaved(contestants, repeats):
    """Time each once a turn; returns seconds, a list a contestant."""
    names = list(contestants)
    for _ in range(3):
        for name in names:
            contestants[name]()
            finish()
    seconds = {name: [] for name in names}
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            contestants[name]()
            finish()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def on_a_gpu():
    return torch.get_default_device().type == "cuda"


def finish():
    """Wait for what a device was given to do."""
    if on_a_gpu():
        torch.cuda.synchronize()


def spread(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "quartiles": [low, high]}


def ratio(slow, fast):
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def contestants(rule, model, order):
    """Steps by name: polyak's, and every implementation that torch has of the rule."""
    ours, options, theirs, torch_options, _ = RULES[rule]
    runs = {}
    variants = ({}, {"fused": True}, {"foreach": True}, {"foreach": False})
    for variant in variants[::order]:
        if "fused" in variant and theirs is RMS:
            continue  # torch has none
        weights = Weights(shapes(model))
        if not variant:
            optimizer = ours(weights.parameters(), lr=1e-4, **options)
        else:
            optimizer = theirs(weights.parameters(), lr=1e-4, **torch_options, **variant)
        runs["-".join(f"{k}={v}" for k, v in variant.items()) or "polyak"] = optimizer.step
    return runs


def plain(rule, model, repeats):
    """One optimizer step, against every implementation that torch has of it."""
    streams = RULES[rule][-1]
    size = sum(math.prod(shape) for shape in shapes(model))
    seconds = {}
    for order in (1, -1):  # where in memory a contestant's weights lie is worth some percent
        runs = contestants(rule, model, order) | {"triad": triad(size)}
        for name, times in interleaved(runs, -(-repeats // 2)).items():
            seconds.setdefault(name, []).extend(times)
        del runs
        gc.collect()
    rivals = {name: times for name, times in seconds.items() if name not in ("polyak", "triad")}
    best = min(rivals, key=lambda name: statistics.median(rivals[name]))
    reference = "fused=True" if "fused=True" in rivals else best
    share = (streams * np.array(seconds["triad"])) / (3 * np.array(seconds["polyak"]))
    return {
        "tensors": len(shapes(model)),
        "weights": size,
        "milliseconds": {k: spread([t * 1e3 for t in v]) for k, v in seconds.items()},
        "reference": reference,
        "speed_against_reference": ratio(rivals[reference], seconds["polyak"]),
        "speed_against_fastest": ratio(rivals[best], seconds["polyak"]),
        "share_of_triad": spread(share.tolist()),
    }


def triad(size):
    a, b, c = (torch.randn(size) for _ in range(3))
    return lambda: torch.add(a, b, alpha=0.5, out=c)


def everything(model, repeats):
    """Adam with clipping, weight decay and an average: one pass, against torch's combinations."""
    mine, theirs, averaged = (Weights(shapes(model)) for _ in range(3))
    options = {"lr": 1e-4, "weight_decay": 1e-2}
    average = optim.Average(mine, decay=0.999)
    one = optim.Adam(mine.parameters(), **options, max_norm=1.0, averages=[average])
    fused = torch.optim.Adam(theirs.parameters(), **options, fused=True)
    tests, weights = (
        [p.detach().clone() for p in theirs.parameters()],
        [p.detach() for p in theirs.parameters()],
    )
    default = torch.optim.Adam(averaged.parameters(), **options)
    swa = torch.optim.swa_utils
    ema = swa.AveragedModel(averaged, multi_avg_fn=swa.get_ema_multi_avg_fn(0.999))

    def best():
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0, foreach=True)
        fused.step()
        torch._foreach_lerp_(tests, weights, 0.001)

    def usual():
        torch.nn.utils.clip_grad_norm_(averaged.parameters(), 1.0)
        default.step()
        ema.update_parameters(averaged)

    runs = {"polyak": one.step, "clip+fused+lerp": best, "clip+default+AveragedModel": usual}
    seconds = interleaved(runs, repeats)
    return {
        "milliseconds": {k: spread([t * 1e3 for t in v]) for k, v in seconds.items()},
        "speed_against_best": ratio(seconds["clip+fused+lerp"], seconds["polyak"]),
        "speed_against_default": ratio(seconds["clip+default+AveragedModel"], seconds["polyak"]),
    }


FIRST = """
import time, torch
torch.set_default_device("{device}")
from polyak import optim
optimizer = optim.{name}([torch.ones(100, requires_grad=True)], lr=1e-4)
optimizer.param_groups[0]["params"][0].grad = torch.ones(100)
start = time.perf_counter(); optimizer.step(); print(time.perf_counter() - start)
"""


def first_call(cls):
    """Seconds of the first step in a fresh process: what compiling costs."""
    code = FIRST.format(name=cls.__name__, device=torch.get_default_device())
    run = [sys.executable, "-c", code]
    times = [float(subprocess.run(run, check=True, capture_output=True).stdout) for _ in range(3)]
    return {"median": statistics.median(times), "all": times}


def machine():
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "device": torch.cuda.get_device_name()
        if torch.get_default_device().type == "cuda"
        else "cpu",
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "polyak": polyak.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", default=["resnet50", "vit_small", "small"])
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/optim.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_default_device(given.device)
    torch.manual_seed(0)
    result = {"machine": machine(), "n": given.repeats, "plain": {}, "everything": {}}
    for model in given.models:
        repeats = given.repeats * (10 if model == "small" else 1)
        result["plain"][model] = {}
        for rule in given.rules:
            found = plain(rule, model, repeats)
            result["plain"][model][rule] = found
            speed, share = found["speed_against_reference"], found["share_of_triad"]["median"]
            print(f"{model:10s} {rule:9s} {speed['median']:5.2f}x {found['reference']:13s} "
                  f"{found['milliseconds']['polyak']['median']:8.3f} ms, {share:4.0%} of triad",
                  flush=True)  # fmt: skip
        found = everything(model, repeats)
        result["everything"][model] = found
        best, default = (found[f"speed_against_{k}"]["median"] for k in ("best", "default"))
        print(f"{model:10s} adam+clip+decay+average {best:.2f}x best, {default:.2f}x default")
    result["first_call_seconds"] = {rule: first_call(RULES[rule][0]) for rule in given.rules}
    slowest = max(v["median"] for v in result["first_call_seconds"].values())
    print(f"first call at most {slowest:.2f} s")
    result["machine"]["load_after"] = os.getloadavg()[0]
    write_atomic(given.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
