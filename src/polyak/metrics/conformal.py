"""Prediction sets: the classes that an image may have, with a promise of how often that holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from polyak.metrics.arrays import checked
from polyak.metrics.figures import Estimate, wilson

MOST = 5000  # of the lowest probabilities that are kept: enough for a level of 95 % of 100,000


@dataclass(frozen=True)
class Conformal:
    """Hold how likely a model found the true class of images that it did not learn from.

    Args:
        n: images.
        lowest: their probabilities of the true class, rising; the lowest MOST of them.
        source: where the images are from: "cross-validation", "test", "val".

    Source: Vovk, Gammerman, Shafer, "Algorithmic learning in a random world", 2005; Sadinle, Lei,
    Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 2019.

    >>> p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> found = Conformal.of(p, np.array([0, 1, 1]), "test")
    >>> found.threshold(0.75), found.sets(np.array([[0.55, 0.45], [0.99, 0.01]]), 0.75).tolist()
    (0.4, [[True, True], [True, False]])
    """

    n: int
    lowest: tuple[float, ...]
    source: str

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray, source: str) -> "Conformal":
        """Look at probabilities (N, K) of images with labels (N,)."""
        probabilities, labels = checked(probabilities, labels)
        true = np.sort(probabilities[np.arange(len(labels)), labels].astype(float))
        # rounded down: no image that set a threshold falls below it
        return cls(len(true), tuple((np.floor(true[:MOST] * 1e7) / 1e7).tolist()), source)

    @classmethod
    def read(cls, facts: Any) -> "Conformal":
        """Read what `as_facts` gave, trusting nothing.

        Raises:
            ValueError: this is none.

        >>> Conformal.read({"n": 1, "lowest": [2.0], "source": "test"})
        Traceback (most recent call last):
        ...
        ValueError: no thresholds of prediction sets
        """
        try:
            n, lowest = int(facts["n"]), tuple(float(p) for p in facts["lowest"])
            rising = all(a <= b for a, b in pairwise(lowest))
            inside = all(0 <= p <= 1 for p in lowest)
            if not (rising and inside and 0 < len(lowest) == min(n, MOST)):
                raise ValueError("out of order")
            return cls(n, lowest, str(facts["source"])[:40])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("no thresholds of prediction sets") from error

    def as_facts(self) -> dict[str, Any]:
        """Give plain values by name."""
        return {"n": self.n, "lowest": list(self.lowest), "source": self.source}

    def threshold(self, level: float) -> float:
        """Say from which probability on a class belongs to the set, for a share of images that must
        have their true class in it.

        Where too few images were seen for a level, all classes belong to every set.

        Args:
            level: of coverage, above 0 to below 1.

        Raises:
            ValueError: no such level, or lower than the probabilities that were kept allow.
        """
        if not 0 < level < 1:
            raise ValueError(f"{level:g} is no share: write 0.95")
        below = math.floor((self.n + 1) * (1 - level) + 1e-9)
        if below > len(self.lowest):
            least = 1 - len(self.lowest) / (self.n + 1)
            raise ValueError(f"{level:g} is too low: this model knows levels from {least:.3f} on")
        return self.lowest[below - 1] if below else 0.0

    def sets(self, probabilities: np.ndarray, level: float) -> np.ndarray:
        """Say which classes may be an image's: bool (N, K); the likeliest always is."""
        found = np.asarray(probabilities) >= self.threshold(level)
        found[np.arange(len(found)), np.argmax(probabilities, axis=1)] = True
        return found

    def notes(self, splits: np.ndarray) -> list[str]:
        """Say what to bear in mind when sets of images are measured, a line each.

        Args:
            splits: (N,), what each measured image was in training, "" where nothing.
        """
        found = []
        if (splits == self.source).any():
            found.append("some of these images set the threshold of the sets: measure on others")
        if self.source == "val":
            found.append(
                "the images that set the threshold also chose the weights: on others the sets may "
                "hold the true class less often"
            )
        return found


@dataclass(frozen=True)
class ClassCoverage:
    """Hold the same of the images of one class: covered share, mean size, how many images.

    >>> ClassCoverage(0.95, 1.2, 40).n
    40
    """

    covered: float
    size: float
    n: int


@dataclass(frozen=True)
class Coverage:
    """Hold how often sets held the true class, and how large they were.

    Args:
        asked: the share that was promised.
        covered: the share that was reached, with its interval.
        size: classes in a set, the mean.
        by_class: the same of every class that has images.

    >>> sets = np.array([[True, False], [True, True]])
    >>> found = Coverage.of(sets, np.array([1, 1]), 0.9, ("cat", "dog"))
    >>> found.covered.value, found.by_class["dog"].size
    (0.5, 1.5)
    """

    asked: float
    covered: Estimate
    size: float
    by_class: dict[str, ClassCoverage]

    @classmethod
    def of(
        cls, sets: np.ndarray, labels: np.ndarray, asked: float, classes: Sequence[str]
    ) -> "Coverage":
        """Measure sets, bool (N, K), on images with labels, (N,), of named classes."""
        held, sizes = sets[np.arange(len(labels)), labels], sets.sum(1)
        by_class = {}
        for label in np.unique(labels):
            of = labels == label
            covered, size = float(held[of].mean()), float(sizes[of].mean())
            by_class[classes[label]] = ClassCoverage(covered, size, int(of.sum()))
        covered = wilson(int(held.sum()), len(held))
        return cls(asked, covered, float(sizes.mean()), by_class)
