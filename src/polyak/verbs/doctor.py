"""`polyak doctor`: what the machine is and what the data would be."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from polyak.options import Word, option, parse, pixels
from polyak.recipe.recipe import ClassesFrom


@dataclass
class Options:
    """Tell machine, threads and precision; read and decode a data set once, without training.

    Example: polyak doctor photos
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")] = ""
    """folder, CSV or 'digits'"""
    classes_from: ClassesFrom = "auto"
    """which folder names the class: top, or the leaf that holds the images; auto refuses both"""
    max_pixels: Word = "64M"
    """of an image; larger ones are left out: 120M, 1G"""


def run(arguments: list[str]) -> int:
    """Print what the machine is and what the data would be."""
    options = parse(Options, arguments, "polyak doctor")
    from polyak.doctor import doctor as examine

    most = pixels(options.max_pixels)
    for line in examine(options.data or None, classes_from=options.classes_from, pixel_cap=most):
        print(line)
    return 0
