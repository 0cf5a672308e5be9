"""`polyak doctor`: what the machine is and what the data would be."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from polyak.options import option, parse


@dataclass
class Options:
    """Tell machine, threads and precision, and scan a data set without training.

    Example: polyak doctor photos
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")] = ""
    """folder, CSV or 'digits'"""


def run(arguments: list[str]) -> int:
    """Print what the machine is and what the data would be."""
    options = parse(Options, arguments, "polyak doctor")
    from polyak.doctor import doctor as examine

    for line in examine(options.data or None):
        print(line)
    return 0
