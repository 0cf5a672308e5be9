"""Train image classifiers by the book: CS231n lecture 7, "Training Neural Networks, part 2".

    from polyak import load
    from polyak.train import make, train

    for record in train(make(data="photos", budget="10m")):
        print(record)
    print(load("runs/photos").predict("picture.jpg").top())

Each chapter stands alone: `polyak.optim`, `polyak.augment`, `polyak.ensemble`, ...
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyak.model import Classifier, load
    from polyak.train.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Classifier", "Recipe", "load"]

_HOME = {"Classifier": "polyak.model", "Recipe": "polyak.train.recipe", "load": "polyak.model"}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'polyak' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
