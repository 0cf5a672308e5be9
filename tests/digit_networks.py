"""Digits that nobody was trained on, and three small networks that know nothing of them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.model.member import Member
from polyak.networks import build, spec
from polyak.networks.preprocessing import Preprocessing
from polyak.optim import refresh_batch_norm

CLASSES = tuple("0123456789")
OPTIONS = {"size": (8, 8), "widths": (8, 8)}


@dataclass
class Part:
    dataset: Dataset
    images: Images

    @classmethod
    def of(cls, split: str, count: int) -> "Part":
        dataset = scan(find("digits"), classes=CLASSES).part(split)
        dataset = dataset.take(np.arange(0, len(dataset), len(dataset) // count)[:count])
        return cls(dataset, Images.open(dataset))


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    made = build("compact", 10, **OPTIONS)
    made.whiten(torch.rand(64, 3, 8, 8))
    with torch.no_grad():  # random weights, but answers that differ
        made.head.weight.normal_(std=20.0)
    refresh_batch_norm(made, [torch.rand(64, 3, 8, 8)])
    return made.eval()


def member(seed: int, **facts) -> Member:
    preprocessing = Preprocessing((8, 8), (0.3,) * 3, (0.4,) * 3, 1.0)
    return Member(network(seed), spec("compact", 10, **OPTIONS), CLASSES, preprocessing, **facts)
