"""Where a run computes: device, precision and threads, chosen once and kept on resume."""

from dataclasses import dataclass
from typing import Any

from polyak import machine
from polyak import precision as formats
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import ends_as_probe


@dataclass(frozen=True)
class Machine:
    """Say where and how the network computes.

    Args:
        device: as torch names it.
        precision: of products, with its reason.
        threads: of computing and of loading.
    """

    device: str
    precision: formats.Precision
    threads: machine.Threads

    @property
    def cores(self) -> int:
        """Threads that compute while nothing is loaded."""
        return self.threads.compute


def set_up(recipe: Recipe, processes: int = 1, before: dict[str, Any] | None = None) -> Machine:
    """Choose device, precision and threads, and set torch up for them.

    Args:
        recipe: what was asked.
        processes: of this run that share the machine.
        before: env.json of a run that is resumed: it goes on in the precision and with the threads
            that it began with, since the last bits of its sums depend on them.

    Raises:
        UsageError: this machine lacks the device.

    >>> from polyak.recipe import make
    >>> set_up(make(device="cpu", threads=1)).threads
    Threads(compute=1, loader=1)
    """
    device = machine.device(recipe.device)
    wanted = "float32" if ends_as_probe(recipe) else recipe.precision
    total = recipe.threads or max(1, machine.cores() // processes)
    threads = machine.threads(total, device)
    if before is not None:
        threads, wanted = machine.Threads(**before["threads"]), before["precision"]["name"]
    machine.prepare(threads.compute, device)
    return Machine(device, formats.precision(wanted, device), threads)


def cache_bytes(recipe: Recipe, processes: int = 1) -> int:
    """Give the bytes that each process may fill with decoded images.

    >>> from polyak.recipe import make
    >>> cache_bytes(make(memory=1), processes=2)
    536870912
    """
    free = recipe.memory * 2**30 if recipe.memory else machine.memory() / 4
    return int(free / processes)
