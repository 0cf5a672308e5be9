"""Train image classifiers by the book: CS231n lecture 7, "Training Neural Networks, part 2".

    import polyak

    run = polyak.train("photos", budget="10m")
    print(run.figures)
    print(run.model().predict("image.jpg").top())

`polyak.stream` yields the events of the same work. Each chapter of the lecture stands alone:
`polyak.optim`, `polyak.ensemble`, `polyak.regularize`, `polyak.augment`, `polyak.transfer`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyak import (
        augment,
        data,
        ensemble,
        export,
        metrics,
        networks,
        optim,
        race,
        regularize,
        transfer,
    )
    from polyak.api import Run, evaluate, plan, stream, train
    from polyak.errors import PolyakError
    from polyak.model import Classifier, load
    from polyak.planning import PlanResult
    from polyak.recipe import Recipe
    from polyak.report import report

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "PlanResult",
    "PolyakError",
    "Recipe",
    "Run",
    "augment",
    "data",
    "ensemble",
    "evaluate",
    "export",
    "load",
    "metrics",
    "networks",
    "optim",
    "plan",
    "race",
    "regularize",
    "report",
    "stream",
    "train",
    "transfer",
]

_ROOMS = {"augment", "data", "ensemble", "export", "metrics", "networks", "optim", "race",
          "regularize", "transfer"}  # fmt: skip
_HOME = {
    "Classifier": "polyak.model",
    "PlanResult": "polyak.planning",
    "PolyakError": "polyak.errors",
    "Recipe": "polyak.recipe",
    "Run": "polyak.api",
    "evaluate": "polyak.api",
    "load": "polyak.model",
    "plan": "polyak.api",
    "report": "polyak.report",
    "stream": "polyak.api",
    "train": "polyak.api",
}


def __getattr__(name: str) -> Any:
    # what is heavy comes when it is used: importing polyak costs nothing
    if name in _ROOMS:
        return import_module(f"polyak.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'polyak' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
