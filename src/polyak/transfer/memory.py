"""Frozen stages once: what they say of each picture is remembered from epoch to epoch.

Only where nothing random changes their input. What the last frozen stage puts out for a picture is
kept; steps run the frozen stages on one picture of the batch, whatever their code is, and put the
kept maps of the whole batch in place of what comes out. A head that reads frozen stages too is
given what they said of each picture in the same way.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polyak.data.loader import Batch
from polyak.networks import HEAD, Staged, backbone_of, stages
from polyak.networks.stages import input_size
from polyak.transfer.tuning import Tuning

CLOSE = 1e-5  # of the largest logit: how near remembered logits come to computed ones


class Memory:
    """Run a network whose first stages sleep, those only once for each picture.

    Make one with `Memory.of`, which finds out whether the network allows it.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        places: modules whose output is kept: its last frozen stage first.
        count: how many pictures there are.
        limit: bytes of maps to remember at most; were it more, every step computes all.
    """

    def __init__(self, network: nn.Module, places: Sequence[nn.Module], count: int, limit: float):
        self.network, self.places, self.room = network, places, limit
        self.known = np.zeros(count, bool)
        self.tables: dict[int, Tensor] = {}

    @classmethod
    def of(
        cls, network: nn.Module, tuning: Tuning, count: int, limit: float = float("inf")
    ) -> "Memory | None":
        """Give a memory where the frozen stages end in one place, else None.

        >>> from polyak.networks import Compact
        >>> network = Compact(2, (8, 8), (4, 6))
        >>> Memory.of(network, Tuning(network, "few"), 10) is None
        False
        >>> Memory.of(network, Tuning(network, "all"), 10) is None  # nothing is frozen
        True
        """
        if tuning.first == 0:
            return None
        twin = copy.deepcopy(network).eval()
        trial = cls(twin, _places(twin, tuning.first), 3, float("inf"))
        device = next(network.parameters()).device
        size = input_size(backbone_of(network))
        noise = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
        batch = Batch(noise, torch.zeros(3), np.arange(3))
        with torch.no_grad():
            expected = twin(noise)
            try:
                list(trial.fill([batch]))
                found = trial(noise, batch.indices)
            except (
                Exception
            ):  # whatever foreign code says when another part goes round the boundary
                return None
        if found.shape != expected.shape:
            return None
        if (found - expected).abs().max() > CLOSE * expected.abs().max():
            return None
        return cls(network, _places(network, tuning.first), count, limit)

    def fill(self, batches: Iterable[Batch]) -> Iterator[int]:
        """Look at every picture once, in batches that are the same in every life of a run.

        Yields:
            How many pictures are known.
        """
        training = self.network.training
        self.network.eval()
        try:
            for batch in batches:
                with torch.no_grad():
                    self._hooked(batch.images, partial(self._keep, batch.indices))
                if len(self.tables) < len(self.places):
                    self.tables.clear()
                    return
                self.known[batch.indices] = True
                yield int(self.known.sum())
        finally:
            self.network.train(training)

    def __call__(self, images: Tensor, indices: np.ndarray) -> Tensor:
        """Compute logits (N, K) of pictures (N, 3, h, w) with these numbers."""
        if not self.tables or not self.known[indices].all():
            return self.network(images)
        rows = torch.as_tensor(indices)
        return self._hooked(images[:1], lambda number, _: self.tables[number][rows])

    def _hooked(self, images: Tensor, change: Callable[[int, Any], Tensor | None]) -> Tensor:
        def replace(number: int, module: nn.Module, inputs: Any, said: Any) -> Tensor | None:
            return change(number, said)

        handles = [
            place.register_forward_hook(partial(replace, number))
            for number, place in enumerate(self.places)
        ]
        try:
            device = next(self.network.parameters()).device
            return self.network(images.to(device, non_blocking=True))
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, indices: np.ndarray, number: int, said: Any) -> None:
        if not isinstance(said, Tensor):
            return  # a stage that puts out several things: nothing is kept, all is computed
        if number not in self.tables:
            self.room -= len(self.known) * said[0].numel() * said.element_size()
            if self.room < 0:
                return
            self.tables[number] = said.new_empty((len(self.known), *said.shape[1:]))
        self.tables[number][torch.as_tensor(indices)] = said


def _places(network: nn.Module, first: int) -> list[nn.Module]:
    """The last stage before the first that learns, and what a head reads of those before it."""
    inner = backbone_of(network)
    frozen = [name for name in stages(inner) if name != HEAD][:first]
    taps = zip(network.taps, network.names, strict=True) if isinstance(network, Staged) else ()
    early = [tap for tap, name in taps if name in frozen[:-1]]
    return [inner.get_submodule(frozen[-1]), *early]
