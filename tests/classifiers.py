"""Classifiers that nobody trained, but whose answers differ from image to image."""

from dataclasses import replace

import numpy as np
import torch

from polyak.augment import Policy
from polyak.data import Images, Loader
from polyak.model import Classifier, Member
from polyak.networks import Compact, build, spec
from polyak.networks.compact import LOGIT_SCALE
from polyak.networks.head import head_names
from polyak.networks.preprocessing import Preprocessing

CLASSES = ("a", "고양이", "c|<b>\n")


def made(name="compact", size=16, classes=CLASSES, seed=0, fraction=1.0, **more):
    """A classifier with random weights whose answers are spread over the classes."""
    torch.manual_seed(seed)
    options = {"size": (size, size), "widths": (8, 8)} if name == "compact" else {}
    network = build(name, len(classes), **options)
    page = Preprocessing((size, size), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), fraction)
    images = Images.of(np.stack([p for p in some_images(500) if p.shape == (40, 31, 3)]))
    loader = Loader(images, np.zeros(len(images), int), Policy.centre(fraction), size=page.size,
                    mean=page.mean, std=page.std, batch_size=100, seed=0)  # fmt: skip
    (batch,) = loader.epoch(0)
    if name == "compact":
        network.whiten(batch.images)
    spread(network.eval(), batch.images)
    return Classifier([Member(network, spec(name, len(classes), **options), classes, page)], **more)


@torch.no_grad()
def spread(network, images):
    """Turn the head away from what all images have in common, and let it speak up."""
    head = network.get_submodule(head_names(network)[0])
    found = []
    handle = head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    network(images)
    handle.remove()
    features = found[0] - found[0].mean(0)
    common = found[0].mean(0) / found[0].mean(0).norm()
    head.weight.copy_(torch.randn_like(head.weight))
    head.weight.sub_((head.weight @ common)[:, None] * common)
    scale = LOGIT_SCALE if isinstance(network, Compact) else 1.0
    head.weight.div_((features @ head.weight.T).std() * scale / 1.5)


def mixed(mean="probabilities"):
    """Members of other shapes, sizes, colours, orders, views, temperatures and weights."""
    first = made(fraction=0.9).members[0]
    second = made("resnet10t", 32, ("c|<b>\n", "a", "고양이"), seed=1).members[0]
    third = made(seed=2, fraction=0.9).members[0]
    members = [
        replace(first, temperature=0.5, weight=2.0),
        replace(second, temperature=0.7, views="flip"),
        replace(third, weight=0.0),
        replace(third, weight=0.5, views="flip"),
    ]
    return Classifier(members, CLASSES, 1.3, "one", mean=mean)


def some_images(n=64, seed=3):
    """Images of five sizes: uint8 (H, W, 3)."""
    draw = np.random.default_rng(seed)
    sizes = [(16, 16), (40, 31), (9, 21), (100, 130), (32, 48)]
    low = [draw.integers(0, 256, (3, 3, 3), dtype=np.uint8) for _ in range(n)]
    return [
        np.kron(low[i], np.ones((-(-h // 3), -(-w // 3), 1), np.uint8))[:h, :w]
        for i, (h, w) in enumerate(sizes[i % len(sizes)] for i in range(n))
    ]
