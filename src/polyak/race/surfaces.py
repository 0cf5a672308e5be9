"""Functions of two weights that show what an update rule is good for: the lecture's pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyak import keys


@dataclass(frozen=True)
class Surface:
    """A loss of two weights, with its gradient written out.

    Args:
        title: as people call it.
        about: what to look at, one or two sentences.
        value: loss at (x, y); numbers or arrays.
        gradient: (x, y) -> (dx, dy).
        start: (x, y), where every path begins.
        minimum: (x, y), the lowest point; of several, the one that a path from `start` meets.
        x_range: of the picture.
        y_range: of the picture.
        learning_rate: that shows it best when all rules take the same; None where no rate suits
            all.
        noise: standard deviation that is added to each part of the gradient.
        free: whether (x, y) lies beyond what holds rules up; None where nothing does.

    >>> bowl = Surface("bowl", "", lambda x, y: x * x + y * y, lambda x, y: (2 * x, 2 * y),
    ...                start=(1, 1), minimum=(0, 0), x_range=(-2, 2), y_range=(-2, 2))
    >>> bowl.gradient(1.0, 3.0)
    (2.0, 6.0)
    """

    title: str
    about: str
    value: Callable[..., Any]
    gradient: Callable[..., tuple[Any, Any]]
    start: tuple[float, float]
    minimum: tuple[float, float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    learning_rate: float | None = None
    noise: float = 0.0
    free: Callable[..., Any] | None = None

    def noisy_gradient(self, x: Any, y: Any, step: int, seed: int = 0) -> tuple[Any, Any]:
        """Gradient with this step's noise, the same for every rule: (dx, dy).

        Normal numbers by Box and Muller (1958), a function of seed and step alone.

        >>> SURFACES["noise"].noisy_gradient(0.0, 0.0, step=1) == (0.0, 0.0)
        False
        """
        dx, dy = self.gradient(x, y)
        if not self.noise:
            return dx, dy
        u, turn = keys.uniform("race noise", seed, step, np.arange(2)).tolist()
        length = self.noise * float(np.sqrt(-2 * np.log1p(-u)))
        angle = 2 * np.pi * turn
        return dx + length * float(np.cos(angle)), dy + length * float(np.sin(angle))


def _beale(x, y):
    return tuple(c - x * (1 - y**k) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def _beale_gradient(x, y):
    one, two, three = _beale(x, y)
    dx = -2 * (one * (1 - y) + two * (1 - y**2) + three * (1 - y**3))
    dy = 2 * x * (one + 2 * y * two + 3 * y**2 * three)
    return dx, dy


SURFACES: dict[str, Surface] = {
    "saddle": Surface(
        title="saddle",
        about="Every rule starts a hair's breadth beside the ridge. On the saddle the gradient is "
        "nearly zero: SGD gets stuck, velocity and scaled steps get away.",
        value=lambda x, y: x**2 / 2 - y**2 / 2 + y**4 / 4,
        gradient=lambda x, y: (x, y**3 - y),
        start=(-1.5, 1e-3),
        minimum=(0.0, 1.0),
        x_range=(-2.0, 2.0),
        y_range=(-1.6, 1.6),
        learning_rate=0.02,
        free=lambda x, y: abs(y) > 0.5,
    ),
    "local": Surface(
        title="local minimum",
        about="A shallow minimum lies before the deep one. Momentum can roll through it and over "
        "the hill; a rule without velocity stays.",
        value=lambda x, y: (x**2 - 1) ** 2 - 0.4 * x + y**2,
        gradient=lambda x, y: (4 * x**3 - 4 * x - 0.4, 2 * y),
        start=(-1.7, 0.9),
        minimum=(1.0466805318046024, 0.0),
        x_range=(-2.2, 2.2),
        y_range=(-1.4, 1.4),
        learning_rate=0.02,
        free=lambda x, y: x > -0.1010312578811,  # the hill between them
    ),
    "ravine": Surface(
        title="ravine",
        about="Far steeper across than along. SGD jumps from wall to wall, then creeps "
        "along the floor; momentum gathers speed along it and overshoots.",
        value=lambda x, y: (x**2 + 65 * y**2) / 2,
        gradient=lambda x, y: (x, 65 * y),
        start=(-4.0, 0.8),
        minimum=(0.0, 0.0),
        x_range=(-5.0, 3.5),
        y_range=(-1.2, 1.2),
        learning_rate=0.02,
    ),
    "noise": Surface(
        title="noisy gradients",
        about="A bowl seen through small batches: each gradient is off by a random amount, the "
        "same for all rules. Large steps keep trembling around the minimum.",
        value=lambda x, y: (x**2 + 4 * y**2) / 2,
        gradient=lambda x, y: (x, 4 * y),
        start=(-2.5, 1.6),
        minimum=(0.0, 0.0),
        x_range=(-3.2, 2.2),
        y_range=(-1.8, 2.1),
        learning_rate=0.02,
        noise=2.0,
    ),
    "rosenbrock": Surface(
        title="Rosenbrock",
        about="A bent valley with steep walls and an almost level floor (Rosenbrock 1960). A rate "
        "that suits the floor is thrown out by the walls.",
        value=lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        gradient=lambda x, y: (-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)),
        start=(-1.2, 1.0),
        minimum=(1.0, 1.0),
        x_range=(-2.0, 2.0),
        y_range=(-0.8, 2.8),
    ),
    "beale": Surface(
        title="Beale",
        about="Flat plains between sharp walls (Beale 1958). On the plain the gradient tells "
        "little, at the walls too much.",
        value=lambda x, y: sum(part**2 for part in _beale(x, y)),
        gradient=_beale_gradient,
        start=(0.5, 1.2),
        minimum=(3.0, 0.5),
        x_range=(-1.0, 4.5),
        y_range=(-1.6, 1.8),
    ),
}
"""The six surfaces, by name."""
