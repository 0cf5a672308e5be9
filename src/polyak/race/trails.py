"""Paths of polyak's own rules over surfaces, and what can be read off them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from polyak.optim import rules
from polyak.optim.translate import signature
from polyak.race.surfaces import Surface

RULES: dict[str, Callable[..., Any]] = {
    "sgd": rules.sgd,
    "momentum": rules.momentum,
    "nesterov": rules.nesterov,
    "adagrad": rules.adagrad,
    "rmsprop": rules.rmsprop,
    "adam": rules.adam,
}
STEPS = 200


def trail(
    surface: Surface,
    rule: Callable[..., Any],
    learning_rate: float | np.ndarray,
    rho: float | np.ndarray = 0.9,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> np.ndarray:
    """Walk a rule down a surface: float64 (steps + 1, 2, ...), the start first.

    Args:
        surface: where to walk.
        rule: `x, *state = rule(x, dx, *state, learning_rate, ...)`.
        learning_rate: a number or an array of them, all walked at once.
        rho: of rules that have one; a number or an array that fits `learning_rate`.
        steps: how many.
        seed: of the noise, where the surface has some.

    A path that diverges goes on to infinity, then to NaN; nothing is hidden here.

    >>> from polyak.race.surfaces import SURFACES
    >>> trail(SURFACES["ravine"], rules.sgd, 0.01, steps=1).round(3).tolist()
    [[-4.0, 0.8], [-3.96, 0.28]]
    """
    rates, rhos = np.broadcast_arrays(np.asarray(learning_rate, float), np.asarray(rho, float))
    wanted = signature(rule)
    hyper = {"learning_rate": rates} | ({"rho": rhos} if "rho" in wanted.hyper else {})
    start = np.array(surface.start, float).reshape(2, *[1] * rates.ndim)
    x = np.broadcast_to(start, (2, *rates.shape))
    state = [np.zeros_like(x) for _ in wanted.state]
    path = np.empty((steps + 1, *x.shape))
    path[0] = x
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is a result
        for t in range(1, steps + 1):
            dx = np.stack(surface.noisy_gradient(x[0], x[1], t, seed))
            counted = {"t": t} if "t" in wanted.hyper else {}
            x, *state = rule(x, dx, *state, **hyper, **counted)
            path[t] = x
    return path


class Measured(NamedTuple):
    """What one path came to.

    Args:
        steps_to_leave: first step beyond the saddle or hill; None if never, or nothing holds.
        overshoot: farthest past the minimum, along the line from start to minimum; 0 if never.
        distance: to the minimum at the end; infinite when diverged.
        left_picture: the step from which on it is outside the picture; None when it ends inside.

    >>> Measured(3, 0.0, 0.5, None).steps_to_leave
    3
    """

    steps_to_leave: int | None
    overshoot: float
    distance: float
    left_picture: int | None


def measure(surface: Surface, path: np.ndarray) -> Measured:
    """Read off one path (steps + 1, 2).

    >>> from polyak.race.surfaces import SURFACES
    >>> path = np.array([[-4.0, 0.8], [1.0, 0.0], [0.5, 0.0]])
    >>> measure(SURFACES["ravine"], path).distance
    0.5
    """
    start, minimum = np.array(surface.start), np.array(surface.minimum)
    away = _outside(surface, path)
    inside = np.flatnonzero(~away)
    left = None if not away[-1] else int(inside[-1]) + 1 if len(inside) else 0
    along = (minimum - start) / np.linalg.norm(minimum - start)
    seen = path[:left] if left else path
    leave = None
    if surface.free is not None:
        beyond = np.flatnonzero(surface.free(seen[:, 0], seen[:, 1]))
        leave = int(beyond[0]) if len(beyond) else None
    with np.errstate(over="ignore"):
        distance = float(np.hypot(*(path[-1] - minimum)))
    return Measured(
        leave,
        max(0.0, float(((seen - minimum) @ along).max())),
        distance if math.isfinite(distance) else math.inf,
        left,
    )


def visible(surface: Surface, path: np.ndarray) -> np.ndarray:
    """Cut a path where it leaves the picture for good, and shorten stretches that lead far away.

    Points end up at most two pictures off: enough to see where a line goes.

    >>> from polyak.race.surfaces import SURFACES
    >>> path = np.array([[0.0, 0.0], [1.0, 0.0], [1e9, 0.0], [-1e18, 0.0]])
    >>> visible(SURFACES["ravine"], path).tolist()
    [[0.0, 0.0], [1.0, 0.0], [20.5, 0.0]]
    """
    left = measure(surface, path).left_picture
    path = path.copy() if left is None else path[: left + 1].copy()
    low, high = np.array([surface.x_range, surface.y_range]).T
    wide = high - low
    far = ((path < low - 2 * wide) | (path > high + 2 * wide)).any(1)
    for k in np.flatnonzero(far):  # from the point before, so that the line keeps its direction
        go = path[k] - path[k - 1]
        room = np.where(go > 0, high + 2 * wide - path[k - 1], low - 2 * wide - path[k - 1])
        path[k] = path[k - 1] + go * min(r / g for r, g in zip(room, go, strict=True) if g)
    return path


def _outside(surface, path):
    (left, right), (bottom, top) = surface.x_range, surface.y_range
    x, y = path[:, 0], path[:, 1]
    return ~((x >= left) & (x <= right) & (y >= bottom) & (y <= top))  # NaN is outside
