"""A classifier as a folder for the Hugging Face hub: weights, timm's config, a model card."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from polyak.errors import UsageError
from polyak.export.card import card
from polyak.export.check import Agreement, Run, require, said_bare, samples
from polyak.files import disk_error, sync, write_atomic
from polyak.model import Classifier
from polyak.model.member import Member
from polyak.networks.head import head_names

# of timm's configuration of a network: what does not depend on where its first weights came from
KEPT = ("fixed_input_size", "interpolation", "pool_size", "first_conv", "classifier")


def to_hub(
    classifier: Classifier,
    folder: Path | str,
    *,
    data: str | None = None,
    licence: str | None = None,
) -> Agreement:
    """Write a folder that timm loads without polyak, checked by loading it so.

    The temperature goes into the last layer, so that the softmax of timm's logits is polyak's
    probabilities, of one view.

    Args:
        classifier: one timm network.
        folder: must not exist; appears whole or not at all.
        data: a folder of images to check with; made-up ones by default.
        licence: for the card, an identifier of the hub; default what is known of the source.

    Returns:
        How timm's answers compare with polyak's.

    Raises:
        UsageError: several members, a network that is not timm's, or the folder exists.
        RefusedError: timm says something else than polyak.
        DiskError: the disk refused.

    >>> import tempfile
    >>> from polyak.model import Member
    >>> from polyak.networks.build import build, spec
    >>> from polyak.networks.preprocessing import Preprocessing
    >>> network = build("resnet10t", 2)
    >>> inputs = Preprocessing((64, 64), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> one = Classifier([Member(network, spec("resnet10t", 2), ("a", "b"), inputs)])
    >>> to_hub(one, Path(tempfile.mkdtemp()) / "hub").same
    64
    """
    member, folder = single(classifier), Path(folder)
    if folder.exists():
        why, then = "it exists", "choose another --out, or remove it first"
        raise UsageError("cannot write the folder", where=str(folder), why=why, then=then)
    whole = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        whole.mkdir()
        tensors = weights(member, member.temperature * classifier.temperature)
        about = {"format": "pt"}  # what the weights were written by
        write_atomic(whole / "model.safetensors", lambda file: save_file(tensors, file, about))
        write_atomic(whole / "config.json", json.dumps(config(member), indent=1))
        write_atomic(whole / "README.md", card(classifier, member, licence))
        found = agreement(classifier, whole, data, str(folder))
        whole.rename(folder)
        sync(folder.parent)
    except Exception as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    return found


def best_member(classifier: Classifier) -> tuple[Classifier, str]:
    """Take the member that counts most, where a folder holds one network only.

    Args:
        classifier: of one running member or several.

    Returns:
        The classifier itself, or the one of its best member that timm can build; and a line that
        tells of it, "" where nothing was left out.

    >>> from polyak.model import Member
    >>> from polyak.networks.build import build, spec
    >>> from polyak.networks.preprocessing import Preprocessing
    >>> inputs = Preprocessing((64, 64), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> name, classes = "resnet10t", ("a", "b")
    >>> one = Member(build(name, 2), spec(name, 2), classes, inputs, temperature=2.0)
    >>> best, line = best_member(Classifier([one, one]))
    >>> len(best.members), line
    (1, 'one of 2 networks is written, the one that counts most: resnet10t')
    """
    running = [member for member in classifier.members if member.weight > 0]
    able = [member for member in running if not _foreign(member)]
    if len(running) < 2 or not able:
        return classifier, ""
    best = max(able, key=lambda member: member.weight)
    header = {name: v for name, v in classifier.header.items() if name != "evaluation"}
    alone = Classifier([replace(best, weight=1.0)], classifier.classes, 1.0, "one", header)
    alone.pixel_cap = classifier.pixel_cap
    name = best.spec["name"]
    return alone, f"one of {len(running)} networks is written, the one that counts most: {name}"


def _foreign(member: Member) -> str:
    """Say why timm cannot build a network; "" where it can."""
    if member.spec["name"] == "compact":
        return "compact is polyak's own network, which timm cannot build"
    if member.spec["options"].get("stages"):
        return "a head on several stages is polyak's own, which timm cannot build"
    return ""


def single(classifier: Classifier) -> Member:
    """Give the only running member, when timm alone can build its network.

    Raises:
        UsageError: there are several, or timm has no such network.
    """
    running = [member for member in classifier.members if member.weight > 0]
    why = _foreign(running[0])
    if len(running) > 1:
        why = f"{len(running)} members are no single network of timm's"
    if why:
        raise UsageError("cannot export to a folder for timm", why=why, then="--to onnx")
    return running[0]


def weights(member: Member, temperature: float) -> dict[str, Tensor]:
    """Copy a network's tensors, its last layers divided by the temperature."""
    heads = tuple(f"{name}." for name in head_names(member.network))
    return {
        name: (value / temperature if name.startswith(heads) else value)
        .detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in member.network.state_dict().items()
    }  # fmt: skip


def config(member: Member) -> dict[str, Any]:
    """Describe a network as timm's `config.json`: architecture, classes, preprocessing."""
    inputs, network = member.preprocessing, member.network
    known: Any = getattr(network, "pretrained_cfg", {})
    kept = {name: known[name] for name in KEPT if known.get(name) is not None}
    if tuple(known.get("input_size", ())[1:]) != tuple(inputs.size):
        kept.pop("pool_size", None)
    options = {k: v for k, v in member.spec["options"].items() if not k.endswith("drop_rate")}
    return {
        "architecture": member.spec["name"].partition(".")[0],
        "num_classes": len(member.classes),
        "num_features": getattr(network, "num_features", None),
        "label_names": list(member.classes),
        "model_args": options,
        "pretrained_cfg": kept
        | {
            "input_size": [3, *inputs.size],
            "interpolation": "bilinear",
            "crop_pct": inputs.fraction,
            "crop_mode": "center",
            "mean": list(inputs.mean),
            "std": list(inputs.std),
            "num_classes": len(member.classes),
        },
    }


def agreement(classifier: Classifier, folder: Path, data: str | None, what: str) -> Agreement:
    """Compare what timm's own loader makes of a folder with polyak's predictions, one view.

    Raises:
        RefusedError: they differ by more than rounding.
    """
    import timm

    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images, order = samples(classifier, data), single(classifier).order(classifier.classes)
    expected, _ = classifier.probabilities(images, views="one")
    logits = said_bare(classifier, images, runner(network))
    return require(expected, classifier.kind.probabilities(logits)[:, order], what)


def runner(network: nn.Module) -> Run:
    """Run a network on one batch of numbers."""

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(batch)).numpy()

    return run
