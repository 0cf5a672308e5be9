"""What `polyak train` would begin with on some images, and how long it would need: measured."""

from collections.abc import Iterator

import numpy as np

from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.data.parts import Splits
from polyak.data.split import split
from polyak.errors import counted
from polyak.jobs.command import Command
from polyak.networks import pretrained
from polyak.planning.probes import Backbone
from polyak.planning.search import seconds_per_image
from polyak.recipe.decode_size import decode_size
from polyak.recipe.machine import set_up
from polyak.recipe.recipe import make
from polyak.recipe.resolve import ends_as_probe, resolve
from polyak.recipe.weights import with_weights
from polyak.training.distributed import Process
from polyak.training.pace import Clock
from polyak.training.session import Session

FEW = 512  # images of which some are timed


def foretell(data: str, dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Say which weights a run without options starts from, and how long it takes.

    Args:
        data: as it is named.
        dataset: its images, scanned; those that cannot be decoded are set aside.

    Yields:
        (name, text).

    >>> from polyak.data import find, scan
    >>> list(foretell("digits", scan(find("digits"))))
    [('weights', 'none: digits of 8 pixels are learnt from scratch')]
    """
    recipe = make(data=data)
    chosen, reason = with_weights(recipe, dataset)
    if chosen.weights is None or not ends_as_probe(chosen):
        yield "weights", f"{chosen.weights or 'none'}: {reason}"
        return
    yield "weights", f"{chosen.weights}: {reason}"
    session = _session(chosen, reason, dataset)
    each = seconds_per_image(Backbone(session, session.network()))
    size = f"{len(dataset) * each:.0f} s for {counted(len(dataset), 'image', ',')}"
    yield "time", f"about {size}, {each * 1000:.0f} ms each as measured; remembered afterwards"
    others = len(pretrained.installed())
    if others > 1:
        yield "backbones", f"{others} are here: polyak train {data} --budget 5m tries them"


def _session(recipe, reason: str, dataset: Dataset) -> Session:
    command, machine = Command.alone(recipe), set_up(recipe, 1)
    few = dataset.take(np.linspace(0, len(dataset) - 1, min(FEW, len(dataset))).astype(int))
    few = split(few, recipe.val, recipe.seed)
    images = Images.open(few, machine.threads.compute, 0, min_size=decode_size(recipe, few))
    data = Splits.of(few, images)
    resolved = resolve(recipe, few, {"weights": reason})
    return Session(resolved, machine, Process(), data, Clock(None, command.began), command.stop)
