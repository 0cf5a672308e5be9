"""Probes once: the disk remembers a solution under a hash of everything that it depends on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from polyak.transfer import cache
from polyak.transfer.probes import STRENGTHS, Probe, measured, probe

FORMAT = 2  # changes when the solution does


@dataclass(frozen=True)
class ProbeCache:
    """Probes that a folder remembers.

    Args:
        folder: of remembered tables, as `polyak.transfer.cache.home()`.
    """

    folder: Path

    def probe(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        classes: int,
        *,
        seed: int = 0,
        widths: Sequence[int] = (),
        fold: np.ndarray | None = None,
    ) -> Probe:
        """Fit a probe as `polyak.transfer.probe` does, or find the one that was fitted before.

        It takes what that function takes.

        >>> import tempfile
        >>> x, labels = np.array([[-1.0], [1.0]] * 9, np.float32), np.array([0, 1] * 9)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ProbeCache(Path(folder)).probe(x, labels, 2).l2 == probe(x, labels, 2).l2
        True
        """
        n, width = features.shape
        shapes = (classes, width), (classes,), (n, classes), (1,)
        name = _name(features, (labels, fold), (classes, seed, *widths))
        shape = 1, sum(int(np.prod(shape)) for shape in shapes)
        with cache.owned(self.folder, name, lambda: None):
            if (found := cache.read(self.folder, name, shape)) is not None:
                return _restored(found[0][0], shapes, labels)
            new = probe(features, labels, classes, seed=seed, widths=widths, fold=fold)
            with cache.making(self.folder, name, shape) as made:
                parts = new.weight.ravel(), new.bias, new.log_probs.ravel(), [new.l2]
                made.table[0] = np.concatenate(parts)
            return new


def _restored(row: np.ndarray, shapes: Sequence[tuple[int, ...]], labels: np.ndarray) -> Probe:
    """Take a remembered row apart: weight, bias, log-probabilities, strength."""
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    whole = zip(np.split(row, ends[:-1]), shapes, strict=True)
    weight, bias, logs, single = (np.array(part).reshape(s) for part, s in whole)
    # a single is off by its rounding, and the strength is one of few
    l2 = min(STRENGTHS, key=lambda strength: abs(strength - single[0]))
    return Probe(weight, bias, l2, measured(logs, labels), logs)


def _name(features: np.ndarray, numbers: tuple, settings: tuple[int, ...]) -> str:
    facts = FORMAT, features.shape, settings, torch.__version__, torch.get_num_threads()
    hashed = hashlib.sha256(json.dumps(facts).encode())
    hashed.update(np.ascontiguousarray(features, "<f4").data.cast("B"))
    for number in (one for one in numbers if one is not None):
        hashed.update(np.ascontiguousarray(number, "<i8").data.cast("B"))
    return f"probe-{hashed.hexdigest()[:40]}"
