"""`polyak train`: from a folder of images to a model file."""

import os
import time

from polyak.errors import UsageError


def run(arguments: list[str]) -> int:
    """Train, show progress, print what came of it."""
    began = time.monotonic()
    from polyak.options import training

    recipe, resume = training(arguments)
    if not recipe.data and not resume:
        raise UsageError("nothing to train on", then="polyak train FOLDER, or polyak train digits")
    from rich.console import Console

    from polyak import console
    from polyak.jobs import stream

    # under torchrun every process runs this, and one of them speaks
    screen = Console(quiet=os.environ.get("RANK", "0") != "0")
    console.follow(stream(recipe, resume=resume, began=began), screen)
    return 0
