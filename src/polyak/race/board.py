"""The race on surfaces, computed ahead for a grid of learning rates and rho, as page and JSON."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from polyak.files import check_writable, write_atomic
from polyak.optim.translate import signature
from polyak.race.page import render
from polyak.race.surfaces import SURFACES, Surface
from polyak.race.trails import RULES, STEPS, Measured, measure, trail, visible

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
RHOS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
GRID = 5000  # points of the page lie on a grid of so many steps a side
LEVELS = 81  # points a side at which the page knows the surface's height
LEAVE = {"saddle": "steps to leave", "local": "steps over the hill"}
Runs = dict[str, list[list[tuple[np.ndarray, Measured]]]]  # rule: by rate, by rho


def runs(surface: Surface) -> Runs:
    """Walk every rule at every rate, and every rho where the rule has one, over a surface."""
    found = {}
    for name, rule in RULES.items():
        rhos = RHOS if "rho" in signature(rule).hyper else (0.0,)
        paths = trail(surface, rule, np.array(RATES)[:, None], np.array(rhos))
        found[name] = [
            [(path, measure(surface, path)) for path in np.moveaxis(paths[:, :, k], -1, 0)]
            for k in range(len(RATES))
        ]
    return found


def best_rates(found: Runs) -> dict[str, list[int]]:
    """Choose, for each rule and rho, the rate that ends nearest to the minimum, in the picture."""
    return {
        name: [
            min(range(len(RATES)), key=lambda k, j=j, rows=rows: _badness(rows[k][j][1]))
            for j in range(len(rows[0]))
        ]
        for name, rows in found.items()
    }


def _badness(found: Measured) -> tuple[bool, float]:
    return found.left_picture is not None, found.distance


def table(name: str, found: Runs, rho: float = 0.9) -> list[dict[str, Any]]:
    """Give the rows that a person wants first: the surface's own rate, else each rule's best."""
    rate, best, rows = SURFACES[name].learning_rate, best_rates(found), []
    for rule, by_rate in found.items():
        j = RHOS.index(rho) if len(by_rate[0]) > 1 else 0
        k = best[rule][j] if rate is None else RATES.index(rate)
        rows.append({"rule": rule, "learning_rate": RATES[k], **by_rate[k][j][1]._asdict()})
    return rows


def write(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Write race.html and race.json into a folder; return the rows of each surface's table.

    Raises:
        DiskError: nothing can be written there.

    >>> import tempfile
    >>> rows = write(Path(tempfile.mkdtemp()))["saddle"]
    >>> rows[0]["rule"], rows[0]["learning_rate"], rows[0]["steps_to_leave"]
    ('sgd', 0.02, None)
    """
    check_writable(out)
    found = {name: runs(surface) for name, surface in SURFACES.items()}
    data = {
        "steps": STEPS,
        "grid": GRID,
        "rules": list(RULES),
        "with_rho": [name for name, rows in found["saddle"].items() if len(rows[0]) > 1],
        "rates": RATES,
        "rhos": RHOS,
        "surfaces": [_packed(name, rows) for name, rows in found.items()],
    }
    rates = f"{', '.join(map(str, RATES[:-1]))} and {RATES[-1]:g}"
    page = render("surfaces.html", "surfaces.js", data, steps=STEPS, rates=rates)
    write_atomic(out / "race.html", page)
    write_atomic(out / "race.json", json.dumps(_everything(found), allow_nan=False) + "\n")
    return {name: table(name, rows) for name, rows in found.items()}


def _packed(name: str, found: Runs) -> dict[str, Any]:
    surface = SURFACES[name]
    cells = {
        rule: [
            [(pack(surface, path), _row(measured)) for path, measured in by_rho]
            for by_rho in by_rate
        ]
        for rule, by_rate in found.items()
    }
    return {
        "name": name,
        "title": surface.title,
        "about": surface.about,
        "start": surface.start,
        "minimum": surface.minimum,
        "x_range": surface.x_range,
        "y_range": surface.y_range,
        "rate": surface.learning_rate,
        "leave": LEAVE.get(name),
        "levels": levels(surface),
        "best": best_rates(found),
        "runs": cells,
    }


def pack(surface: Surface, path: np.ndarray) -> list[int]:
    """Write a path as whole numbers of the page's grid, x and y by turns, each as a difference.

    >>> pack(SURFACES["noise"], np.array([[-3.2, -1.8], [2.2, -1.8]]))
    [0, 0, 5000, 0]
    """
    low, high = np.array([surface.x_range, surface.y_range]).T
    points = np.rint((visible(surface, path) - low) / (high - low) * GRID).astype(int)
    return np.diff(points, axis=0, prepend=np.zeros((1, 2), int)).ravel().tolist()


def levels(surface: Surface) -> list[list[int]]:
    """Give heights for the contours, 0 to 1000, on a scale that shows valleys: (rows, columns)."""
    x, y = (np.linspace(*edge, LEVELS) for edge in (surface.x_range, surface.y_range))
    height = surface.value(*np.meshgrid(x, y))
    height = height - height.min()
    height = np.log1p(height / np.quantile(height, 0.2))
    return np.rint(1000 * height / height.max()).astype(int).tolist()


def _row(found: Measured) -> list:
    distance = None if math.isinf(found.distance) else float(f"{found.distance:.4g}")
    leave, left = found.steps_to_leave, found.left_picture
    return [leave, float(f"{found.overshoot:.4g}"), distance, left]


def _everything(found: dict[str, Runs]) -> dict[str, Any]:
    """Put every run of the grid into plain JSON; a distance that is not finite is null."""
    surfaces = {}
    for name, rows in found.items():
        surface = SURFACES[name]
        results = [
            {
                "rule": rule,
                "learning_rate": RATES[k],
                "rho": RHOS[j] if len(by_rho) > 1 else None,
                **dict(zip(Measured._fields, _row(measured), strict=True)),
            }
            for rule, by_rate in rows.items()
            for k, by_rho in enumerate(by_rate)
            for j, (_, measured) in enumerate(by_rho)
        ]
        surfaces[name] = {"start": surface.start, "minimum": surface.minimum, "results": results}
    return {"version": 1, "kind": "surfaces", "steps": STEPS, "surfaces": surfaces}
