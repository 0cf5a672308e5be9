"""polyak's schedules in the way that PyTorch programs are used to: a scheduler that is stepped."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from polyak.errors import RefusedError, UsageError
from polyak.optim.schedules import momentum_for


class Scheduled(LRScheduler):
    """Set the rates of any torch optimizer by a schedule; call `step()` after every optimizer step.

    Args:
        optimizer: each group's rate now is its base rate.
        schedule: a function from progress in [0, 1] to a factor of the base rate.
        steps: of the whole run; afterwards the factor stays that of progress 1.
        momentum: (low, high) to cycle the momentum between, against the rate; None leaves it.

    Raises:
        UsageError: `steps` is not positive, or there is no momentum to cycle.

    Source: cyclic momentum is Smith 2018, "A disciplined approach to neural network
    hyper-parameters".

    >>> import torch
    >>> from polyak.optim.schedules import cosine
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = Scheduled(optimizer, cosine, steps=2)
    >>> for _ in range(2):
    ...     optimizer.step(); scheduler.step()
    ...     print(round(optimizer.param_groups[0]["lr"], 6))
    0.25
    0.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Callable[[float], float],
        steps: int,
        *,
        momentum: tuple[float, float] | None = None,
        last_epoch: int = -1,
    ):
        if steps < 1:
            raise UsageError(f"a schedule over {steps} steps", then="give the steps of the run")
        if momentum:
            check_momentum(optimizer)
        self.schedule: Callable[[float], float] = schedule
        self.steps: int = steps
        self.momentum: tuple[float, float] | None = momentum
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Give every group's rate at this step, and set its momentum."""
        factor = self.schedule(min(self.last_epoch / self.steps, 1.0))
        if self.momentum:
            cycle_momentum(self.optimizer, momentum_for(factor, *self.momentum))
        return [float(base) * factor for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Give the place in the schedule; the schedule itself is code, which no file holds."""
        return {key: value for key, value in super().state_dict().items() if key != "schedule"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the step where `state_dict` was taken.

        Schedule, steps and momentum stay this scheduler's own: of a run that is longer now, that
        step is an earlier part, and the optimizer gets the rates which belong to it.

        Raises:
            RefusedError: it was taken with another number of parameter groups.
        """
        saved, groups = len(state_dict["base_lrs"]), self.optimizer.param_groups
        if saved != len(groups):
            raise RefusedError(
                "cannot go on from this scheduler state",
                why=f"it has {saved} parameter groups, the optimizer {len(groups)}",
                then="load it beside the optimizer that it was saved with",
            )
        own = ("schedule", "steps", "momentum")
        super().load_state_dict({k: v for k, v in state_dict.items() if k not in own})
        if state_dict.get("steps", self.steps) == self.steps:
            return  # the optimizer has these rates from its own file
        rates = self.get_lr()
        self._last_lr = [*rates]
        for group, rate in zip(groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def check_momentum(optimizer: Optimizer) -> None:
    """Refuse an optimizer that has no momentum to cycle.

    Raises:
        UsageError: it has none.
    """
    if not all("momentum" in group or "betas" in group for group in optimizer.param_groups):
        raise UsageError("no momentum to cycle", where=type(optimizer).__name__)


def cycle_momentum(optimizer: Optimizer, value: float) -> None:
    """Set the momentum of every group, or the first beta where that is its name.

    >>> import torch
    >>> optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    >>> cycle_momentum(optimizer, 0.85); optimizer.param_groups[0]["betas"]
    (0.85, 0.999)
    """
    for group in optimizer.param_groups:
        if "momentum" in group:
            group["momentum"] = value
        else:
            group["betas"] = (value, *group["betas"][1:])
