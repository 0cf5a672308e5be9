"""Frozen stages at the least cost: their batch norms folded, and once an image where that serves.

A twin of the network, made for inference, says what the frozen stages say. A step runs the network,
whatever its code is, on one image of the batch, and puts what the twin says of the whole batch in
place of what comes out of the last frozen stage; a head that reads frozen stages too is given what
they said in the same way. Where nothing random changes an image, what the twin says is kept.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import BatchNorm2d

from polyak.data.loader import Batch
from polyak.networks import HEAD, Staged, backbone_of, stages
from polyak.networks.fold import folded
from polyak.networks.stages import input_size, tapped
from polyak.transfer.tuning import Tuning

CLOSE = 1e-5  # of the largest logit: how near a twin's logits come to the network's own


class FrozenFeatureCache:
    """Run a network whose first stages are frozen, those by a folded twin or from memory.

    Make one with `FrozenFeatureCache.of`, which finds out whether the network allows it.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        first: the first stage that learns.
        count: how many images there are to remember.
        limit: bytes of maps to remember at most; were it more, every step computes all.
    """

    def __init__(self, network: nn.Module, first: int, count: int, limit: float):
        self.network = network
        self.limit = limit
        names, places = _places(network, first)
        self.names: list[str] = names
        self.places: list[nn.Module] = places
        self.filled: np.ndarray = np.zeros(count, bool)
        self.tables: list[Tensor] = []
        self._twin: nn.Module | None = None

    @classmethod
    def of(
        cls, network: nn.Module, tuning: Tuning, count: int, limit: float = float("inf")
    ) -> "FrozenFeatureCache | None":
        """Give a cache where the frozen stages end in one place and it saves work, else None.

        >>> from polyak.networks import Compact
        >>> network = Compact(2, (8, 8), (4, 6))
        >>> FrozenFeatureCache.of(network, Tuning(network, "few"), 10) is None
        False
        >>> FrozenFeatureCache.of(network, Tuning(network, "all"), 10) is None  # nothing is frozen
        True
        """
        if tuning.first == 0:
            return None
        made = cls(network, tuning.first, count, limit)
        if not limit and not made.saves:
            return None
        device = next(network.parameters()).device
        size = input_size(backbone_of(network))
        noise = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
        training = network.training
        network.eval()
        try:
            with torch.no_grad():
                expected, found = network(noise), made(noise, np.array([-1]))
        except Exception:  # whatever foreign code says when a part goes round the boundary
            return None
        finally:
            network.train(training)
        if found.shape != expected.shape:
            return None
        return made if (found - expected).abs().max() <= CLOSE * expected.abs().max() else None

    @property
    def saves(self) -> bool:
        """Whether the twin computes less than the network: some norm was folded away."""
        norms = [
            sum(isinstance(module, BatchNorm2d) for module in one.modules())
            for one in (self.twin, backbone_of(self.network))
        ]
        return norms[0] < norms[1]

    @property
    def twin(self) -> nn.Module:
        """The network for inference, its batch norms folded."""
        if self._twin is None:
            self._twin = folded(backbone_of(self.network))
        return self._twin

    def renew(self) -> None:
        """Forget what the frozen stages said: they have been given other weights."""
        self._twin, self.tables = None, []
        self.filled[:] = False

    def fill(self, batches: Iterable[Batch]) -> Iterator[int]:
        """Look at every image once, in batches that are the same in every life of a run.

        Yields:
            How many images are kept.
        """
        for batch in batches:
            found = self._maps(batch.images)
            if not self.tables and not self._fits(found):
                return
            rows = torch.as_tensor(batch.indices)
            for table, maps in zip(self.tables, found, strict=True):
                table[rows] = maps
            self.filled[batch.indices] = True
            yield int(self.filled.sum())

    def __call__(self, images: Tensor, indices: np.ndarray) -> Tensor:
        """Compute logits (N, K) of images (N, 3, h, w) with these numbers; -1 is nobody's."""
        if self.tables and self.filled[indices].all():
            rows = torch.as_tensor(indices)
            return self._continued(images, [table[rows] for table in self.tables])
        return self._continued(images, self._maps(images))

    def _fits(self, found: list[Tensor]) -> bool:
        """Make the tables, if they are not too large."""
        count = len(self.filled)
        if count * sum(maps[0].numel() * maps.element_size() for maps in found) > self.limit:
            return False
        self.tables = [maps.new_empty((count, *maps.shape[1:])) for maps in found]
        return True

    @torch.no_grad()
    def _maps(self, images: Tensor) -> list[Tensor]:
        """What the frozen stages say of images, at each place."""
        twin, early = self.twin, self.names[:-1]
        with tapped(twin, early) as found:
            handle = twin.get_submodule(self.names[-1]).register_forward_hook(_leave)
            try:
                twin(images.to(next(twin.parameters()).device, non_blocking=True))
            except _Reached as reached:
                return [reached.maps, *(found[name] for name in early)]
            finally:
                handle.remove()
        raise RuntimeError(f"stage {self.names[-1]} was never reached")

    def _continued(self, images: Tensor, found: list[Tensor]) -> Tensor:
        """Run the network on one image, and let it go on with what was said of all."""
        handles = [
            place.register_forward_hook(partial(_replaced, maps))
            for place, maps in zip(self.places, found, strict=True)
        ]
        try:
            device = next(self.network.parameters()).device
            return self.network(images[:1].to(device, non_blocking=True))
        finally:
            for handle in handles:
                handle.remove()


class _Reached(Exception):
    """The last frozen stage has spoken: the rest of the pass is not needed."""

    def __init__(self, maps: Tensor):
        super().__init__()
        self.maps = maps


def _leave(module: nn.Module, inputs: Any, output: Any) -> None:
    raise _Reached(output)


def _replaced(maps: Tensor, module: nn.Module, inputs: Any, output: Any) -> Tensor:
    return maps


def _places(network: nn.Module, first: int) -> tuple[list[str], list[nn.Module]]:
    """Name what is asked of the frozen stages, the last one last; and where each is put: the last
    stage before the first that learns, then what a head reads of those before it.
    """
    inner = backbone_of(network)
    frozen = [name for name in stages(inner) if name != HEAD][:first]
    taps = zip(network.taps, network.names, strict=True) if isinstance(network, Staged) else ()
    early = {name: tap for tap, name in taps if name in frozen[:-1]}
    return [*early, frozen[-1]], [inner.get_submodule(frozen[-1]), *early.values()]
