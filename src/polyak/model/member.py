"""One network of a trained classifier, with all that it needs to say its part."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from polyak.errors import UsageError, shown
from polyak.networks.preprocessing import Preprocessing


@dataclass(frozen=True)
class Member:
    """Hold one network of a classifier.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        spec: how to build the network again: {"name", "classes", "options"}.
        classes: K names in the order of its own logits.
        preprocessing: from image to its input.
        temperature: its logits are divided by it before members are averaged.
        weight: its share in the mean, zero or more; a member of weight zero is not run.
        views: its own test-time views; None takes the classifier's.

    >>> from polyak.networks.build import build, spec
    >>> options = {"size": (8, 8), "widths": (4, 4)}
    >>> preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> network, made = build("compact", 2, **options), spec("compact", 2, **options)
    >>> Member(network, made, ("cat", "dog"), preprocessing).order(("dog", "cat")).tolist()
    [1, 0]
    """

    network: nn.Module
    spec: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    weight: float = 1.0
    views: str | None = None

    def order(self, classes: tuple[str, ...]) -> np.ndarray:
        """Where among its own logits each of these classes stands: int64 (K,).

        Raises:
            UsageError: its classes are not these.
        """
        if set(classes) != set(self.classes):
            odd = min(set(classes) ^ set(self.classes))
            raise UsageError(
                "members must know the same classes",
                where=shown(odd),
                why=f"only {'some' if odd in classes else 'others'} of them know it",
            )
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place[name] for name in classes], np.int64)
