"""Snapshots: train once, and keep the weights that each cycle of the learning rate ended with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from polyak.ensemble.states import State


@dataclass(frozen=True)
class Snapshot:
    """Hold the weights that a cycle ended with.

    Args:
        number: of the cycle, from 1.
        share: of the whole run that was trained by then, above 0 to 1.
        state: the weights.

    >>> Snapshot(1, 0.5, {}).share
    0.5
    """

    number: int
    share: float
    state: State


class Snapshots:
    """Take the weights at the end of each cycle of the learning rate, in memory.

    Averaged weights make better members than raw ones; `Average.swapped_in(network, batches)`
    shows them, with batch-norm statistics of their own, while they are taken.

    Args:
        ends: progress of the run at which each cycle ends, rising, up to 1:
            `polyak.optim.schedules.cycle_ends(5)`.

    Source: slide "Tips and Tricks": "use multiple snapshots of a single model during training";
    Huang et al., "Snapshot ensembles", ICLR 2017.

    >>> import torch
    >>> snapshots, weights = Snapshots([0.5, 1.0]), {"w": torch.zeros(1)}
    >>> for step in range(10):
    ...     weights["w"] += 1
    ...     if snapshots.due((step + 1) / 10):
    ...         snapshots.take(weights, (step + 1) / 10)
    >>> [(one.number, one.share, one.state["w"].item()) for one in snapshots.taken()]
    [(1, 0.5, 5.0), (2, 1.0, 10.0)]
    """

    def __init__(self, ends: Sequence[float]):
        self.ends: list[float] = list(ends)
        self.ended: int = 0  # cycles
        self._taken: list[Snapshot] = []

    def due(self, progress: float) -> bool:
        """Whether a cycle has ended by this progress, in [0, 1], and was not taken."""
        return self.ended_by(progress) > self.ended

    def take(self, state: State, progress: float) -> None:
        """Keep a copy of the weights that a cycle ended with: `network.state_dict()`."""
        self.ended = self.ended_by(progress)
        self._keep(Snapshot(self.ended, self.ends[self.ended - 1], state))

    def taken(self) -> list[Snapshot]:
        """Give all that were taken, in their order."""
        return list(self._taken)

    def _keep(self, snapshot: Snapshot) -> None:
        own = {name: value.detach().clone() for name, value in snapshot.state.items()}
        self._taken.append(replace(snapshot, state=own))

    def ended_by(self, progress: float) -> int:
        """Count the cycles that have ended by this progress."""
        return sum(progress + 1e-9 >= end for end in self.ends)
