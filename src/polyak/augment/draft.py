"""What a policy's operations have composed so far: maps, colours and rows, a row an image."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from polyak.augment import colour, geometry
from polyak.augment import kernels as row_of

BORDERS = ("reflect", "edge", "colour")


@dataclass
class Draft:
    """Compose operations, then give the rows.

    Args:
        sizes: int (n, 2), height and width of the images.
        size: (height, width) of the result.
        mean: float (3,), in [0, 1].
        std: float (3,), in [0, 1].

    >>> draft = Draft(np.array([[8, 8]]), (4, 4), np.zeros(3), np.ones(3))
    >>> draft.rows()[0, :9].tolist()
    [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0]
    """

    sizes: np.ndarray
    size: tuple[int, int]
    mean: np.ndarray
    std: np.ndarray
    frames: np.ndarray = field(init=False)  # (n, 4) top, left, height, width shown, input pixels
    maps: np.ndarray = field(init=False)  # (n, 3, 3) within the result's pixels
    colours: np.ndarray = field(init=False)  # (n, 3, 4)
    plan: np.ndarray = field(init=False)  # (n, COLUMNS)

    def __post_init__(self) -> None:
        n = len(self.sizes)
        self.maps, self.colours = geometry.identity(n), colour.identity(n)
        self.plan = np.zeros((n, row_of.COLUMNS), dtype=np.float32)
        self.plan[:, row_of.LOW : row_of.HIGH] = (0.0 - self.mean) / self.std
        self.plan[:, row_of.HIGH : row_of.SOURCE] = (1.0 - self.mean) / self.std
        self.plan[:, row_of.SOURCE : row_of.BORDER] = self.sizes
        self.plan[:, row_of.FILL : row_of.HOLE] = 255.0 * self.mean
        self.plan[:, row_of.TABLE : row_of.SHARP] = 0.0, 256.0, 8.0
        self.frames = np.zeros((n, 4))
        self.place(np.ones(n, dtype=bool), 1.0, 0.5, 0.5)

    def place(self, on: np.ndarray, fraction: float, down: float, right: float) -> None:
        """Show the result's shape, its shorter fit times `fraction`, at a place from 0 to 1."""
        sizes, size = np.maximum(self.sizes, 1), np.array(self.size, dtype=np.float64)
        shown = np.min(sizes / size, axis=1, keepdims=True) * fraction * size
        rows = np.concatenate([(sizes - shown) * (down, right), shown], axis=1)
        self.frames = np.where(on[:, None], rows, self.frames)

    def warp(self, on: np.ndarray, map: np.ndarray) -> None:
        """Send the content through one more map, where `on`."""
        self.maps = np.where(on[:, None, None], self.maps @ map, self.maps)

    def tint(self, on: np.ndarray, map: np.ndarray) -> None:
        """Send the colours through one more map, where `on`."""
        self.colours = np.where(on[:, None, None], colour.compose(self.colours, map), self.colours)

    def set(self, on: np.ndarray, column: int, *values: ArrayLike) -> None:
        """Write values into neighbouring columns, where `on`."""
        for k, value in enumerate(values):
            self.plan[:, column + k] = np.where(on, value, self.plan[:, column + k])

    def rows(self) -> np.ndarray:
        """Give the plan: float32 (n, COLUMNS)."""
        n = len(self.sizes)
        top, left, height, width = self.frames.T
        maps = geometry.frame(top, left, height, width, self.size) @ self.maps
        self.plan[:, row_of.MATRIX : row_of.COLOUR] = maps.reshape(n, 9)
        colours = colour.compose(self.colours, colour.normalise(self.mean, self.std))
        colours = colours / [255.0, 255.0, 255.0, 1.0]
        self.plan[:, row_of.COLOUR : row_of.LOW] = colours.reshape(n, 12)
        return self.plan
