"""A classifier as one ONNX file: images in, probabilities out, for any runtime."""

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyak.errors import UsageError
from polyak.export.check import Agreement, Run, samples
from polyak.export.facts import facts, inputs
from polyak.export.trace import agreement, traced
from polyak.files import write_atomic
from polyak.model import Classifier

NEEDED = ("onnx", "onnxscript", "onnxruntime")
LARGEST = 2_000_000_000  # bytes: one protobuf message holds no more than 2 GiB


def to_onnx(
    classifier: Classifier,
    path: Path | str,
    *,
    bare: bool = False,
    data: str | None = None,
    opset: int | None = None,
) -> Agreement:
    """Write a classifier as one ONNX file, checked against onnxruntime before it gets its name.

    Args:
        classifier: one network or members; all become one graph.
        path: the file; replaced whole or left alone.
        bare: leave preparing out: normalised float32 (N, 3, h, w) in, logits out, one view. Else
            uint8 (N, H, W, 3) of any size in, probabilities out, all views.
        data: a folder of images to check with; made-up ones by default.
        opset: version of ONNX's operators that the file asks for; default torch's own choice.

    Returns:
        How onnxruntime's answers compare with polyak's.

    Raises:
        UsageError: the extra is not installed, the network cannot be traced, or not be written in
            that version.
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
    >>> to_onnx(one, Path(tempfile.mkdtemp()) / "model.onnx").same
    64
    """
    check_installed()
    images = samples(classifier, data)
    program, found = translated(classifier, bare, opset), []

    def write(temporary: Path) -> None:
        program.save(temporary, external_data=False)
        found.append(agreement(classifier, runtime(temporary), images, bare, str(path)))

    write_atomic(Path(path), write)
    return found[0]


def check_installed() -> None:
    """Say what is missing before anything is computed.

    Raises:
        UsageError: a package of the extra is not installed.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                "cannot export to ONNX",
                why=f"{name} is not installed",
                then="pip install 'polyak[export]'",
            )


def translated(classifier: Classifier, bare: bool, opset: int | None = None) -> Any:
    """Translate a classifier into torch's ONNX program, with its facts in the metadata.

    Raises:
        UsageError: torch cannot, not in that version, or the weights are more than a file holds.
    """
    program = traced(classifier, bare)
    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    if size > LARGEST:
        why = f"{size:,} bytes of weights, and one ONNX file holds 2 GiB"
        raise UsageError("cannot export to ONNX", why=why, then="--to torch-export")
    free = {0: "batch"} if bare else {0: "batch", 1: "height", 2: "width"}
    names: dict[str, Any] = {
        "input_names": ["pictures"],
        "output_names": ["logits" if bare else "probabilities"],
        "dynamic_shapes": (free,),
        "opset_version": opset,
    }
    try:
        with _quiet():
            made = torch.onnx.export(program, verbose=False, external_data=False, **names)
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UsageError("cannot export to ONNX", why=why, then="--to torch-export") from error
    assert made is not None
    if opset not in (None, written := made.model.opset_imports[""]):
        # what cannot be converted, the translator leaves in its own version
        why = f"torch can write this network in version {written}, not in {opset}"
        raise UsageError("cannot export to ONNX", where=f"--opset {opset}", why=why)
    made.model.metadata_props.update(facts(classifier, bare))
    made.model.doc_string = "\n".join(inputs(classifier, bare))
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the translator's housekeeping, and its tries to change the version, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def runtime(path: Path) -> Run:
    """Open an ONNX file in onnxruntime, on the CPU: a function from one batch to its output."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(batch: np.ndarray) -> np.ndarray:
        (probabilities,) = session.run(None, {name: batch})
        return np.asarray(probabilities)

    return run
