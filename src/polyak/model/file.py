"""One portable file for a trained classifier, no pickle: written whole, read with suspicion."""

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from polyak import tensor_file
from polyak.augment.views import VIEWS
from polyak.errors import RefusedError, UsageError, shown
from polyak.model.classifier import Classifier
from polyak.model.kinds import WeightKind
from polyak.model.known_splits import MOST_MEMBERS, file_of
from polyak.model.member import Member
from polyak.networks.build import from_spec
from polyak.networks.preprocessing import FIELDS, Preprocessing, checked
from polyak.targets import kind_facts

# 1: one network predicts; 2: members travel, or a soup; 3: 16-bit images are scaled by fewer bits;
# 4: images have several labels. A file claims the least that can read it
FORMATS = (1, 2, 3, 4)
PLAIN = (WeightKind.AVERAGE, WeightKind.WEIGHTS, WeightKind.BEST)  # kinds that format 1 knows
MEANS = ("probabilities", "logits")
TEMPERATURES = 1e-6, 1e6  # beyond, a quotient leaves what float32 can hold


def save(
    path: Path,
    weights: dict[str, dict[str, torch.Tensor]],
    classifier: Classifier,
    chosen: str,
    ensemble: Classifier | None = None,
) -> None:
    """Write one model file: same content, same bytes.

    Args:
        path: where it goes; written whole or not at all.
        weights: state_dicts by kind: "weights" (raw), "average", "best", "soup", "snapshot",
            "start" (of fine-tuning).
        classifier: classes, preprocessing, temperature, header.
        chosen: the kind that predicts; "members": the classifier's own.
        ensemble: members that travel beside a single network that was chosen.

    Raises:
        DiskError: the disk refused.

    >>> import tempfile
    >>> from polyak.networks.build import build, spec
    >>> options = {"size": (8, 8), "widths": (4, 4)}
    >>> network, made = build("compact", 2, **options), spec("compact", 2, **options)
    >>> preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> classifier = Classifier([Member(network, made, ("cat", "dog"), preprocessing)])
    >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save(file, {"weights": network.state_dict()}, classifier, "weights")
    >>> load(file).classes
    ('cat', 'dog')
    """
    ensemble = classifier if chosen == "members" else ensemble
    states = dict(weights)
    members = [*classifier.members, *(ensemble.members if ensemble else ())]
    scaled = any(member.preprocessing.bits < 16 for member in members)
    header = classifier.header | {
        "format": 4
        if classifier.kind.several
        else 3
        if scaled
        else 1
        if ensemble is None and chosen in PLAIN
        else 2,
        "network": classifier.spec,
        "classes": list(classifier.classes),
        "preprocessing": classifier.preprocessing.as_facts(),
        "temperature": classifier.temperature,
        "views": classifier.views,
        "chosen": chosen,
        **kind_facts(classifier.kind),
    }
    if ensemble is not None:
        header["ensemble"] = {
            "temperature": ensemble.temperature,
            "mean": ensemble.mean,
            "members": [describe(member) for member in ensemble.members],
        }
        for number, member in enumerate(ensemble.members):
            states[f"members/{number}"] = member.network.state_dict()
    tensors = {f"{kind}/{n}": value for kind, state in states.items() for n, value in state.items()}
    tensor_file.write(path, tensors, header)


def describe(member: Member) -> dict[str, Any]:
    """Describe a member as JSON-able facts; its weights travel as tensors."""
    return {
        "network": member.spec,
        "classes": list(member.classes),
        "preprocessing": member.preprocessing.as_facts(),
        "temperature": member.temperature,
        "weight": member.weight,
        "views": member.views,
    }


def load(path: str | Path, *, device: str = "cpu", kind: str | None = None) -> Classifier:
    """Load a classifier from a model file or a run directory.

    Args:
        path: a run directory or a model file.
        device: where its networks go.
        kind: which weights of the file predict: "average", "weights", "best", "soup", "snapshot",
            "start" or "members"; by default those that validation chose.

    Raises:
        UsageError: the file has no weights of this kind.
        RefusedError: no polyak model, damaged, from a newer polyak, or not what it claims.

    >>> load("no/such/run")
    Traceback (most recent call last):
    ...
    polyak.errors.RefusedError: cannot load the model: no/such/run: there is no such file. Next: \
give a run directory or a model.safetensors
    """
    file = file_of(path)
    if kind is not None:
        _check_kind(file, kind)
    try:
        classifier = _load(file, device, kind)
        classifier.files = (file,)
        return classifier
    except (RefusedError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            why, then = "there is no such file", "give a run directory or a model.safetensors"
        else:
            why, then = str(error).splitlines()[0][:200] if str(error) else type(error).__name__, ""
        raise RefusedError("cannot load the model", where=str(file), why=why, then=then) from error


def _load(file: Path, device: str, kind: str | None) -> Classifier:
    with tensor_file.opened(file) as stored:
        header = stored.facts
        if header["format"] not in FORMATS:
            why = f"format {header['format']}, this polyak reads {FORMATS[0]} to {FORMATS[-1]}"
            raise RefusedError(
                "cannot load the model", where=str(file), why=why, then="upgrade polyak"
            )
        stored.check()
        kind = kind or header["chosen"]
        if kind not in list(WeightKind):
            raise ValueError(f"unknown weights {kind!r}")
        classes = [str(name) for name in header["classes"]]
        facts = dict(header["ensemble"]) if kind == "members" else header
        described = facts["members"] if kind == "members" else [header | {"temperature": 1.0}]
        if not isinstance(described, list) or not 0 < len(described) <= MOST_MEMBERS:
            raise ValueError(f"it needs a list of 1 to {MOST_MEMBERS} members")
        members = []
        for number, one in enumerate(described):
            prefix = f"members/{number}/" if kind == "members" else f"{kind}/"
            members.append(_member(stored, prefix, one, device))
    temperature, mean = _temperature(facts["temperature"]), facts.get("mean", MEANS[0])
    if mean not in MEANS:
        raise ValueError(f"unknown mean {mean!r}")
    views = _views(header["views"])
    classifier = Classifier(members, classes, temperature, views, header, mean)
    if not 0 < (total := sum(classifier.weights)) < math.inf:
        raise ValueError(f"the weights of its members sum to {total}")
    return classifier


def _check_kind(file: Path, kind: str) -> None:
    """Refuse weights that were asked for and that a file does not have."""
    try:
        with safe_open(file, framework="pt") as stored:
            kinds = sorted({name.partition("/")[0] for name in stored.keys()} & set(WeightKind))
    except (SafetensorError, OSError):
        return  # loading says what is wrong with it
    if kind not in kinds:
        why = f"this file has {', '.join(kinds) or 'none'}"
        raise UsageError("no such weights", where=f"--kind {kind}", why=why)


def _member(
    stored: tensor_file.Stored, prefix: str, described: dict[str, Any], device: str
) -> Member:
    classes = tuple(str(name) for name in described["classes"])
    if len(set(classes)) != len(classes) or len(classes) != int(described["network"]["classes"]):
        raise ValueError("classes or temperature do not fit the network")
    _check_shapes(stored, prefix, described["network"])
    state = {
        name.removeprefix(prefix): stored.tensor(name)
        for name in stored.shapes
        if name.startswith(prefix)
    }
    if not all(tensor_file.finite(value) for value in state.values()):
        raise ValueError("a weight is not finite")
    network = from_spec(described["network"])
    network.load_state_dict(state)
    network.to(memory_format=torch.channels_last).to(device)
    weight = float(described.get("weight", 1.0))
    if not 0 <= weight < math.inf:
        raise ValueError(f"a member weighs {weight}")
    views = described.get("views")
    facts = {"bits": 16, **described["preprocessing"]}
    facts = {name: checked(name, facts[name]) for name in FIELDS}
    return Member(
        network,
        described["network"],
        classes,
        Preprocessing(**facts),
        _temperature(described["temperature"]),
        weight,
        None if views is None else _views(views),
    )


def _check_shapes(stored: tensor_file.Stored, prefix: str, network: dict[str, Any]) -> None:
    """Compare what a file holds with the network that it describes, before memory is taken for it.

    A header of one line can describe a network of gigabytes.
    """
    found = {n.removeprefix(prefix): s for n, s in stored.shapes.items() if n.startswith(prefix)}
    if not found:
        raise ValueError(f"there are no weights {shown(prefix)[:80]}")
    wanted = _shapes(json.dumps(network))
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            there, here = (str(one.get(name, "missing")) for one in (found, wanted))
            raise ValueError(f"{shown(name)[:80]} is {there}, in its network {here}")


@lru_cache(maxsize=8)
def _shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Give the shapes of a network's weights by name, without memory for them."""
    try:
        with torch.device("meta"):
            sketch = from_spec(json.loads(network))
    except NotImplementedError:  # a RegNet of an older timm computes its widths with tensors
        sketch = from_spec(json.loads(network))
    return {name: tuple(value.shape) for name, value in sketch.state_dict().items()}


def _temperature(value: Any) -> float:
    if not TEMPERATURES[0] <= float(value) <= TEMPERATURES[1]:
        raise ValueError("classes or temperature do not fit the network")
    return float(value)


def _views(value: Any) -> str:
    if value not in VIEWS:
        raise ValueError(f"unknown views {value!r}")
    return value
