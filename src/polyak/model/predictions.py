"""What a classifier answers to some images."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """Hold a classifier's answers.

    Args:
        paths: the files, as they were named; numbers of images that have none.
        probabilities: float32 (N, K); a row of NaN where the file could not be read.
        classes: K names.
        unreadable: (path, reason) of the files without a prediction.
        disagreement: float (N,), how far the members lie apart, 0 to 1; None for a single network.
        sets: bool (N, K), the classes that each image may have; None where no level was asked for.
        given: bool (N, K), the labels that each image is given, where it may have several; else
            None.
        notes: one line for each folder that was not read, or reached twice through a link.
    """

    paths: list[str]
    probabilities: np.ndarray
    classes: tuple[str, ...]
    unreadable: list[tuple[str, str]]
    disagreement: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    sets: np.ndarray | None = None
    given: np.ndarray | None = None

    def top(self, k: int = 1) -> list[list[tuple[str, float]]]:
        """List the k likeliest classes of every file with their probabilities; of several labels
        all that it is given, if they are more.

        >>> found = Predictions(["a.jpg"], np.array([[0.2, 0.8]]), ("cat", "dog"), [])
        >>> found.top()
        [[('dog', 0.8)]]
        """
        best = np.argsort(-self.probabilities, axis=1, kind="stable")
        most = [k] * len(best)
        if self.given is not None:
            most = np.maximum(k, self.given.sum(1)).tolist()
        return [
            [] if np.isnan(row[0]) else [(self.classes[i], float(row[i])) for i in order[:count]]
            for row, order, count in zip(self.probabilities, best, most, strict=True)
        ]

    def labels(self, number: int) -> list[str]:
        """List the labels that an image is given, the likeliest first.

        >>> Predictions(["a"], np.array([[0.2, 0.8]]), ("cat", "dog"), []).labels(0)
        ['dog']
        """
        if self.given is None:
            return [name for name, _ in self.top()[number]]
        return self._ordered(number, self.given)

    def set_of(self, number: int) -> list[str]:
        """List the classes that an image may have, the likeliest first; none where it is unknown.

        >>> odds = np.array([[0.2, 0.8]])
        >>> Predictions(["a"], odds, ("cat", "dog"), [], sets=odds > 0.1).set_of(0)
        ['dog', 'cat']
        """
        return [] if self.sets is None else self._ordered(number, self.sets)

    def _ordered(self, number: int, chosen: np.ndarray) -> list[str]:
        row = self.probabilities[number]
        if np.isnan(row[0]):
            return []
        order = np.argsort(-row, kind="stable")
        return [self.classes[i] for i in order if chosen[number, i]]
