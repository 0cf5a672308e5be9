"""How fast this machine trains a network: measured on a copy, before anything counts."""

import copy
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from polyak.data.loader import Loader
from polyak.train.job import Machine


def step_seconds(
    network: nn.Module, loader: Loader, where: Machine, times: int = 5
) -> tuple[float, int]:
    """Time forward and backward of a real batch.

    Returns:
        (median seconds of a step, pictures in it).
    """
    with torch.random.fork_rng():
        batch = next(iter(loader.epoch(0)))
        trial = copy.deepcopy(network).train()
        images, labels = batch.images.to(where.device), batch.labels.to(where.device)
        durations = []
        for _ in range(times + 2):
            began = time.monotonic()
            with torch.autocast(
                torch.device(where.device).type,
                torch.bfloat16,
                enabled=where.precision.name == "bfloat16",
            ):
                logits = trial(images)
            functional.cross_entropy(logits.float(), labels).backward()
            if images.is_cuda:
                torch.cuda.synchronize()
            durations.append(time.monotonic() - began)
    return statistics.median(durations[2:]), len(labels)  # the first two allocate and compile
