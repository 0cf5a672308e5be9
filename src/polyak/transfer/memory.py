"""Frozen stages once: what they say of each picture is remembered from epoch to epoch.

Only where nothing random changes their input. What the last frozen stage puts out for a picture is
kept; steps run the frozen stages on one picture of the batch, whatever their code is, and put the
kept maps of the whole batch in place of what comes out.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polyak.data.loader import Batch
from polyak.networks import HEAD, Staged, stages
from polyak.networks.stages import input_size
from polyak.transfer.tuning import Tuning

CLOSE = 1e-5  # of the largest logit: how near remembered logits come to computed ones


class Memory:
    """Run a network whose first stages sleep, those only once for each picture.

    Make one with `Memory.of`, which finds out whether the network allows it.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        boundary: its last frozen stage.
        count: how many pictures there are.
        limit: bytes of maps to remember at most; were it more, every step computes all.
    """

    def __init__(self, network: nn.Module, boundary: nn.Module, count: int, limit: float):
        self.network, self.boundary, self.limit = network, boundary, limit
        self.known = np.zeros(count, bool)
        self.table: Tensor | None = None

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
        inner = network.backbone if isinstance(network, Staged) else network
        last = [name for name in stages(inner) if name != HEAD][tuning.first - 1]
        twin = copy.deepcopy(network).eval()
        place = (twin.backbone if isinstance(twin, Staged) else twin).get_submodule(last)
        trial = cls(twin, place, 3, float("inf"))
        device = next(network.parameters()).device
        size = input_size(inner)
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
        return cls(network, inner.get_submodule(last), count, limit)

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
                    self._hooked(batch.images, lambda maps, at=batch.indices: self._keep(maps, at))
                if self.table is None:
                    return
                yield int(self.known.sum())
        finally:
            self.network.train(training)

    def __call__(self, images: Tensor, indices: np.ndarray) -> Tensor:
        """Compute logits (N, K) of pictures (N, 3, h, w) with these numbers."""
        table = self.table
        if table is None or not self.known[indices].all():
            return self.network(images)
        return self._hooked(images[:1], lambda _: table[torch.as_tensor(indices)])

    def _hooked(self, images: Tensor, change: Callable[[Tensor], Tensor | None]) -> Tensor:
        def replace(module: nn.Module, inputs: Any, maps: Any) -> Tensor | None:
            return change(maps)

        handle = self.boundary.register_forward_hook(replace)
        try:
            device = next(self.network.parameters()).device
            return self.network(images.to(device, non_blocking=True))
        finally:
            handle.remove()

    def _keep(self, maps: Any, indices: np.ndarray) -> None:
        if not isinstance(maps, Tensor):
            return  # a stage that puts out several things: nothing is kept, all is computed
        if not self.known.any():
            size = len(self.known) * maps[0].numel() * maps.element_size()
            self.table = None
            if size <= self.limit:
                self.table = maps.new_empty((len(self.known), *maps.shape[1:]))
        if self.table is not None:
            self.table[torch.as_tensor(indices)] = maps
            self.known[indices] = True
