"""The trunk of a run that branches: what was learnt at the full rate, kept through each fall."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """Anything with a state that can be put back: a network, an optimizer, an average."""

    def state_dict(self) -> dict[str, Any]:
        """Give everything that changes."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Take over what `state_dict` gave."""
        ...


class Trunk:
    """Go back, after each fall of the rate, to where it began: members of an ensemble for the price
    of the falls, and nothing that was learnt is lost to a restart.

    Before each step call `keep`, after it `go_back`, and take the member in between, where
    `Snapshots` of the same ends are due. The rate is that of `polyak.optim.schedules.wsd` with as
    many branches. The trunk needs memory for a copy of all parts.

    Args:
        spans: progress at which each fall begins and ends: `branch_spans(3)`.
        parts: what goes back: the network, its optimizer, averages.

    Source: Haegele et al., "Scaling laws and compute-optimal training beyond fixed training
    durations", 2024, cool down from one trunk at many lengths; here the ends are members.

    >>> network = torch.nn.Linear(1, 1, bias=False)
    >>> trunk, weight = Trunk([(0.25, 0.5), (0.75, 1.0)], network), network.weight.data.zero_()
    >>> seen = []
    >>> for step in range(8):
    ...     trunk.keep(step, step / 8)
    ...     weight += 1
    ...     seen.append(weight.item())
    ...     _ = trunk.go_back(step + 1, (step + 1) / 8)
    >>> seen, trunk.lost
    ([1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 5.0, 6.0], 2)
    """

    def __init__(self, spans: Sequence[tuple[float, float]], *parts: Stateful):
        self.spans: list[tuple[float, float]] = list(spans)
        self.parts: tuple[Stateful, ...] = parts
        self.kept: list[dict[str, Any]] | None = None
        self.since: int = 0  # the step at which the fall began
        self.until: float = 0.0  # progress at which it ends
        self.lost: int = 0  # steps of falls that were gone back from

    def keep(self, step: int, progress: float) -> None:
        """Keep a copy of all parts where a fall begins with this step.

        Args:
            step: how many were taken.
            progress: of the run, in [0, 1].
        """
        until = self.falling(progress)
        if self.kept is None and until is not None:
            self.kept = [_copied(part.state_dict()) for part in self.parts]
            self.since, self.until = step, until

    def falling(self, progress: float) -> float | None:
        """Give the progress at which the fall of a step ends, or None where it is of the trunk; the
        last fall ends the run.
        """
        inside = (end for start, end in self.spans[:-1] if start - 1e-9 <= progress < end - 1e-9)
        return next(inside, None)

    def go_back(self, step: int, progress: float) -> bool:
        """Put all parts back where a fall has ended, and say whether it was so.

        Args:
            step: how many were taken.
            progress: of the run, in [0, 1].
        """
        if self.kept is None or progress + 1e-9 < self.until:
            return False
        for part, state in zip(self.parts, self.kept, strict=True):
            part.load_state_dict(state)
        self.kept, self.lost = None, self.lost + step - self.since
        return True

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint remembers."""
        return {name: getattr(self, name) for name in ("kept", "since", "until", "lost")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for name in ("kept", "since", "until", "lost"):
            setattr(self, name, state[name])


def _copied(value: Any) -> Any:
    """Copy a nested state, its tensors too."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(one) for one in value)
    return value
