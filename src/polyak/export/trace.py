"""From a classifier to torch's exported program, whose batch and image size are free."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from polyak.data.images import Images
from polyak.errors import UsageError
from polyak.export.check import Agreement, Run, require, said_bare, said_of, samples
from polyak.export.facts import facts
from polyak.export.graph import Graph
from polyak.files import write_atomic
from polyak.model import Classifier


def traced(classifier: Classifier, bare: bool = False) -> ExportedProgram:
    """Trace a classifier, members and all, on the CPU, where its networks then are.

    Raises:
        UsageError: torch cannot trace its networks, or bare members share no input.
    """
    graph = Graph(classifier, bare).cpu().eval()
    member = next(member for member in classifier.members if member.weight > 0)
    height, width = member.preprocessing.size
    batch = Dim("batch", min=1)
    if bare:
        example = torch.zeros((2, 3, height, width))
        free = {0: batch}
    else:
        example = torch.zeros((2, height + 1, width + 3, 3), dtype=torch.uint8)
        free = {0: batch, 1: Dim("height", min=1), 2: Dim("width", min=1)}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's housekeeping
            return torch.export.export(graph, (example,), dynamic_shapes=(free,), strict=False)
    except Exception as error:  # every network fails in its own way
        names = ", ".join(dict.fromkeys(member.spec["name"] for member in classifier.members))
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        then = "choose another model, or use the model file with polyak"
        raise UsageError("cannot trace the network", where=names, why=why, then=then) from error


def to_torch(
    classifier: Classifier, path: Path | str, *, bare: bool = False, data: str | None = None
) -> Agreement:
    """Write a classifier as a `.pt2` for `torch.export.load`, checked before it gets its name.

    Args:
        classifier: one network or members.
        path: the file; replaced whole or left alone.
        bare: see `to_onnx`.
        data: a folder of images to check with; made-up ones by default.

    Returns:
        How the file's answers compare with polyak's.

    Raises:
        UsageError: the network cannot be traced.
        RefusedError: the file says something else than polyak.
        DiskError: the disk refused.

    >>> import tempfile
    >>> from polyak.model import Member
    >>> from polyak.networks.build import build, spec
    >>> from polyak.networks.preprocessing import Preprocessing
    >>> small = {"size": (8, 8), "widths": (4, 4)}
    >>> inputs = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> network, made = build("compact", 2, **small), spec("compact", 2, **small)
    >>> one = Classifier([Member(network, made, ("a", "b"), inputs)])
    >>> to_torch(one, Path(tempfile.mkdtemp()) / "model.pt2").same
    64
    """
    images = samples(classifier, data)
    program, content = traced(classifier, bare), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(
            program, content, extra_files={"polyak.json": json.dumps(facts(classifier, bare))}
        )
    found: list[Agreement] = []

    def write(temporary: Path) -> None:
        temporary.write_bytes(content.getvalue())
        with temporary.open("rb") as file:
            module = torch.export.load(file).module()
        run = lambda batch: module(torch.from_numpy(batch)).numpy()  # noqa: E731
        found.append(agreement(classifier, run, images, bare, str(path)))

    write_atomic(Path(path), write)
    return found[0]


def agreement(classifier: Classifier, run: Run, images: Images, bare: bool, what: str) -> Agreement:
    """Compare what an exported graph says with polyak's own predictions.

    Raises:
        RefusedError: they differ by more than rounding.
    """
    expected, _ = classifier.probabilities(images, views="one" if bare else None)
    with torch.no_grad():
        other = (
            classifier.kind.probabilities(said_bare(classifier, images, run))
            if bare
            else said_of(images, run)
        )
    return require(expected, np.asarray(other), what)
