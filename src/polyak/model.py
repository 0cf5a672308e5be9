"""The trained classifier: one portable file, no pickle, predicting with training's own pixels."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from polyak.augment.views import VIEWS
from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.data.pictures import pictures
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.errors import RefusedError, UsageError
from polyak.files import write_atomic
from polyak.inference import log_probabilities
from polyak.metrics import Evaluation, evaluate, softmax
from polyak.networks.build import from_spec
from polyak.networks.preprocessing import FIELDS, Preprocessing, checked

FORMAT = 1
WEIGHTS = ("average", "weights", "best")  # all travel; the header says which one predicts


@dataclass(frozen=True)
class Predictions:
    """Hold what a classifier says of files, best class first.

    Args:
        paths: the files, as they were named.
        probabilities: float32 (N, K); a row of NaN where the file could not be read.
        classes: K names.
        unreadable: (path, reason) of the files without a prediction.
    """

    paths: list[str]
    probabilities: np.ndarray
    classes: tuple[str, ...]
    unreadable: list[tuple[str, str]]

    def top(self, k: int = 1) -> list[list[tuple[str, float]]]:
        """List the k likeliest classes of every file with their probabilities.

        >>> said = Predictions(["a.jpg"], np.array([[0.2, 0.8]]), ("cat", "dog"), [])
        >>> said.top()
        [[('dog', 0.8)]]
        """
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return [
            [] if np.isnan(row[0]) else [(self.classes[i], float(row[i])) for i in order]
            for row, order in zip(self.probabilities, best, strict=True)
        ]


class Classifier:
    """Predict the class of pictures.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        spec: how to build the network again: {"name", "classes", "options"}.
        classes: K names, in the order of the logits.
        preprocessing: from picture to input.
        temperature: the logits are divided by it; fitted on validation.
        views: test-time views that are averaged: one, flip, flip+shift.
        header: provenance, evaluation and whatever else travelled in the file.

    >>> from polyak.networks.build import build, spec
    >>> how = {"size": (8, 8), "widths": (4, 4)}
    >>> network = build("compact", 2, **how)
    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> classifier = Classifier(network, spec("compact", 2, **how), ["cat", "dog"], page)
    >>> classifier.probabilities(Images.of(np.zeros((5, 8, 8, 3), np.uint8)))[0].shape
    (5, 2)
    """

    def __init__(
        self,
        network: nn.Module,
        spec: dict,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        temperature: float = 1.0,
        views: str = "one",
        header: dict | None = None,
    ):
        self.network, self.spec, self.classes = network.eval(), spec, tuple(classes)
        self.preprocessing, self.temperature, self.views = preprocessing, temperature, views
        self.header = header or {}

    def predict(self, inputs: str | Path | Sequence[str | Path], **how) -> Predictions:
        """Predict files or every picture below a folder; unreadable ones are named, not hidden.

        Args:
            inputs: a file, a folder, or several of them.
            how: `device`, `batch_size`, `threads`, `views`.

        Raises:
            DataError: there is no picture there.
        """
        paths = pictures([inputs] if isinstance(inputs, str | Path) else inputs)
        images = Images.open(paths, budget=0)
        probabilities, failed = self.probabilities(images, **how)
        unreadable = [(str(paths[i]), reason) for i, reason in failed]
        return Predictions([str(p) for p in paths], probabilities, self.classes, unreadable)

    def probabilities(self, images: Images, **how) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Predict opened pictures: float32 (N, K), and the (position, reason) of failures."""
        how.setdefault("views", self.views)
        logs, failed = log_probabilities(self.network, images, self.preprocessing, **how)
        return softmax(logs, self.temperature), failed

    def evaluate(self, data: str, split: str | None = None, **how) -> Evaluation:
        """Measure accuracy, NLL and calibration error on data with labels.

        Args:
            data: folder, CSV or `digits`; classes are matched by name.
            split: `train`, `val` or `test`; by default `test` where it exists, else all.
            how: `device`, `batch_size`, `threads`, `views`.

        Raises:
            DataError: a class that the model does not know.
        """
        dataset = labelled(data, split, self.classes)
        probabilities, failed = self.probabilities(Images.open(dataset, budget=0), **how)
        read = np.setdiff1d(np.arange(len(dataset)), [i for i, _ in failed])
        return evaluate(probabilities[read], dataset.labels[read])


def labelled(data: str, split: str | None, classes: tuple[str, ...]) -> Dataset:
    """Scan data that carries labels of known classes, in whatever order, and keep one split of it.

    Raises:
        UsageError: that split is not there.
        DataError: a class that the model does not know.

    >>> len(labelled("digits", "test", tuple("9876543210")))
    359
    """
    dataset = scan(find(data), classes=classes)
    present = set(dataset.splits.tolist())
    if split is None:
        split = "test" if "test" in present else None
    elif split not in present:
        names = ", ".join(sorted(present - {""})) or "none"
        raise UsageError("no such split", where=f"--split {split}", why=f"{data} has {names}")
    return dataset if split is None else dataset.part(split)


def save(
    path: Path, weights: dict[str, dict[str, torch.Tensor]], classifier: Classifier, chosen: str
) -> None:
    """Write one model file: same content, same bytes.

    Args:
        path: where it goes; written whole or not at all.
        weights: state_dicts by kind: "weights" (raw) and "average".
        classifier: classes, preprocessing, temperature, header.
        chosen: the kind that predicts.

    Raises:
        DiskError: the disk refused.

    >>> import tempfile
    >>> from polyak.networks.build import build, spec
    >>> how = {"size": (8, 8), "widths": (4, 4)}
    >>> network = build("compact", 2, **how)
    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> classifier = Classifier(network, spec("compact", 2, **how), ["cat", "dog"], page)
    >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save(file, {"weights": network.state_dict()}, classifier, "weights")
    >>> load(file).classes
    ('cat', 'dog')
    """
    tensors = {
        f"{kind}/{name}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for kind, state in weights.items()
        for name, value in state.items()
    }
    header = classifier.header | {
        "format": FORMAT,
        "network": classifier.spec,
        "classes": list(classifier.classes),
        "preprocessing": classifier.preprocessing._asdict(),
        "temperature": classifier.temperature,
        "views": classifier.views,
        "chosen": chosen,
    }
    # one key only: safetensors writes several in an order that changes from run to run
    text = json.dumps(header, sort_keys=True)
    write_atomic(path, lambda temporary: save_file(tensors, temporary, {"polyak": text}))


def load(path: str | Path, *, device: str = "cpu") -> Classifier:
    """Load a classifier from a model file or a run directory.

    Raises:
        RefusedError: no polyak model, damaged, from a newer polyak, or not what it claims.

    >>> load("no/such/run")
    Traceback (most recent call last):
    ...
    polyak.errors.RefusedError: cannot load the model: no/such/run: there is no such file. Next: \
give a run directory or a model.safetensors
    """
    file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
    try:
        return _load(file, device)
    except RefusedError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            why, then = "there is no such file", "give a run directory or a model.safetensors"
        else:
            why, then = str(error).splitlines()[0][:200] if str(error) else type(error).__name__, ""
        raise RefusedError("cannot load the model", where=str(file), why=why, then=then) from error


def _load(file: Path, device: str) -> Classifier:
    with safe_open(file, framework="pt") as stored:
        text = (stored.metadata() or {}).get("polyak")
        if text is None:
            raise RefusedError("this is no polyak model", where=str(file), why="it has no header")
        header: dict[str, Any] = json.loads(text)
        if header["format"] != FORMAT:
            why = f"format {header['format']}, this polyak reads {FORMAT}"
            raise RefusedError(
                "cannot load the model", where=str(file), why=why, then="upgrade polyak"
            )
        if header["chosen"] not in WEIGHTS:
            raise ValueError(f"unknown weights {header['chosen']!r}")
        prefix = header["chosen"] + "/"
        names = [name for name in stored.keys() if name.startswith(prefix)]
        state = {name.removeprefix(prefix): stored.get_tensor(name) for name in names}
    if any(value.is_floating_point() and not value.isfinite().all() for value in state.values()):
        raise ValueError("a weight is not finite")
    if header["views"] not in VIEWS:
        raise ValueError(f"unknown views {header['views']!r}")
    network = from_spec(header["network"])
    network.load_state_dict(state)
    network.to(memory_format=torch.channels_last).to(device)
    classes, temperature = [str(name) for name in header["classes"]], float(header["temperature"])
    if len(classes) != int(header["network"]["classes"]) or not 0 < temperature < math.inf:
        raise ValueError("classes or temperature do not fit the network")
    return Classifier(
        network,
        header["network"],
        classes,
        Preprocessing(**{name: checked(name, header["preprocessing"][name]) for name in FIELDS}),
        temperature,
        header["views"],
        header,
    )
