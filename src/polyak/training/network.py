"""The network that a run begins with: built, filled with its starting weights, described."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from polyak import keys
from polyak.augment import Policy
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.data.parts import Part
from polyak.errors import UsageError, counted
from polyak.model import source
from polyak.model.origin import origin_of
from polyak.networks import hub, pretrained
from polyak.networks.build import build, fixed_size, spec, takes
from polyak.networks.compact import Compact
from polyak.networks.origin import Origin
from polyak.networks.preprocessing import Preprocessing, preprocessing
from polyak.networks.weights import Loaded, load_weights
from polyak.recipe.machine import Machine
from polyak.recipe.resolved import Resolved
from polyak.regularize import add_dropout, dropped

WHITENED = 5000  # images that compact's first layer is computed from
COLOURED = 1000  # images that mean and deviation of colours are measured on
_PIXELS = 1 << 20  # of a large image, measured at once: numbers of 8 bytes


@dataclass(frozen=True)
class Network:
    """Hold a network with all that a model file needs to know of it.

    Args:
        module: float32 (N, 3, h, w) -> logits (N, K), on its device.
        spec: how to build it again: {"name", "classes", "options"}.
        preprocessing: from image to input.
        origin: of its starting weights; None where it starts from nothing.
        notes: what whoever starts from these weights should know, a line each.
    """

    module: nn.Module
    spec: dict[str, Any]
    preprocessing: Preprocessing
    origin: Origin | None = None
    notes: tuple[str, ...] = ()

    def with_module(self, module: nn.Module) -> "Network":
        """Hold another network of the same kind."""
        return replace(self, module=module)


def build_network(resolved: Resolved, train: Part, on: Machine) -> Network:
    """Build a network with the weights that a run starts from.

    Args:
        resolved: names the network and its weights.
        train: the images to train on.
        on: where it computes.

    Raises:
        UsageError: no such model, or no weights to be had.
        RefusedError: the weights do not fit.
    """
    torch.manual_seed(keys.key("init", resolved.draws))
    classes = len(train.dataset.classes)
    options: dict[str, Any] = {}
    if resolved.model == "compact":
        options = {"size": (resolved.size, resolved.size), "widths": resolved.widths}
    earlier = source.earlier(resolved.weights)
    options = source.options(earlier) if earlier else options
    module, options = _sized(resolved, classes, options)
    metadata: dict[str, str] | None = None
    notes: list[str] = []
    if earlier:
        metadata = source.start(module, earlier, train.dataset.classes)
    elif one := pretrained.named(resolved.weights):
        one.load(module)
        metadata = one.metadata
    elif source.of_file(resolved.weights):
        loaded = load_weights(module, str(resolved.weights))
        metadata = loaded.metadata
        notes = _notes(resolved, loaded)
    wanted = preprocessing(module, metadata, **_overrides(resolved, train))
    module.to(memory_format=torch.channels_last).to(on.device)
    if isinstance(module, Compact) and resolved.weights is None:
        _whiten(module, train, wanted, on)
    if resolved.dropout:
        example = torch.zeros((1, 3, *wanted.size), device=on.device)
        where, p, kind = resolved.dropout_where, resolved.dropout, resolved.dropout_kind
        add_dropout(module, where, p, kind, example=example)
    origin = origin_of(resolved.weights, resolved.model, earlier)
    if origin is not None and (caution := origin.caution()):
        notes.append(caution)
    described = spec(resolved.model, classes, **options)
    return Network(module, described, wanted, origin, tuple(notes))


def _notes(resolved: Resolved, loaded: Loaded) -> list[str]:
    """Say what a file of weights left open or brought too much of."""
    name, notes = Path(str(resolved.weights)).name, []
    if loaded.skipped:
        count = counted(loaded.skipped, "tensor")
        notes.append(f"{name}: {count} not used, of no part of {resolved.model}")
    asked = resolved.mean is not None and resolved.std is not None
    if not asked and not {"mean", "std"} <= loaded.metadata.keys():
        notes.append(
            f"{name} does not say how its colours are normalised: as timm's {resolved.model} is; "
            "--mean and --std change it"
        )
    return notes


def _sized(
    resolved: Resolved, classes: int, options: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network that takes the images of the run: as it is, or made for their size."""
    name, side, fetched = resolved.model, resolved.size, hub.meant(resolved.weights)
    module = build(name, classes, hub=fetched, **options)
    if side is None or "img_size" in options or takes(module, (side, side)):
        return module, options
    own = fixed_size(name) or preprocessing(module).size[0]
    error = UsageError(
        "this network takes images of another size",
        where=f"--size {side}",
        why=f"{name} was made for {own}",
        then=f"leave --size away, or --size {own}",
    )
    torch.manual_seed(keys.key("init", resolved.draws))
    try:
        module = build(name, classes, hub=fetched, **options, img_size=side)
    except UsageError as cause:  # it has no such option, or its parts do not divide the side
        raise error from cause
    if not takes(module, (side, side)):
        raise error
    return module, options | {"img_size": side}


def dropout_places(module: nn.Module) -> str:
    """Say where dropout was put into a network."""
    found = dropped(module)
    count = "1 place" if len(found) == 1 else f"{len(found)} places"
    return f"in {count}: {', '.join(found[:4])}{', ...' if len(found) > 4 else ''}"


def _overrides(resolved: Resolved, train: Part) -> dict[str, Any]:
    """What goes before the preprocessing that weights were trained with."""
    found: dict[str, Any] = {"bits": train.dataset.bits}
    if resolved.size:
        found["size"] = resolved.size
    if resolved.weights is None:
        found["mean"], found["std"] = colours(train.images)
        found["fraction"] = 1.0
    asked = {name: getattr(resolved, name) for name in ("mean", "std")}
    return found | {name: value for name, value in asked.items() if value}


def colours(images: Images, most: int = COLOURED) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure mean and standard deviation of each colour, in [0, 1], over up to `most` images.

    >>> colours(Images.of(np.full((2, 4, 4, 3), 51, np.uint8)))
    ((0.2, 0.2, 0.2), (0.05, 0.05, 0.05))
    """
    chosen = np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)
    sums, squares, pixels = np.zeros(3), np.zeros(3), 0
    for position in chosen:
        image = images[position].reshape(-1, 3)
        for start in range(0, len(image), _PIXELS):
            part = image[start : start + _PIXELS].astype(np.float64) / 255
            sums, squares = sums + part.sum(0), squares + (part**2).sum(0)
        pixels += len(image)
    mean = sums / pixels
    # images of one colour have no spread: dividing by it would blow up noise
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0.05**2))
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())


def _whiten(network: Compact, train: Part, wanted: Preprocessing, on: Machine) -> None:
    """Compute compact's first layer from training images as the network will see them."""
    count = min(len(train), WHITENED)
    chosen = train.images.take(np.linspace(0, len(train) - 1, count).astype(int))
    loader = Loader(
        chosen, np.zeros(count, np.int64), Policy.centre(wanted.fraction), size=wanted.size,
        mean=wanted.mean, std=wanted.std, batch_size=256, seed=0, threads=on.threads.loader,
        shuffle=False,
    )  # fmt: skip
    images = torch.cat([batch.images.clone() for batch in loader.epoch(0)])
    network.whiten(images.to(on.device))
