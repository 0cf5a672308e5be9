"""One step of training: forward, loss, backward, rule, average; and the state that it needs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyak import keys, optim
from polyak.augment import soft
from polyak.data.loader import Batch
from polyak.errors import UsageError
from polyak.optim.scheduler import check_momentum, cycle_momentum
from polyak.optim.schedules import momentum_for
from polyak.train.distributed import World
from polyak.transfer.memory import FrozenFeatureCache
from polyak.transfer.tuning import Tuning

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": optim.SGD,
    "momentum": optim.Momentum,
    "nesterov": optim.Nesterov,
    "adagrad": optim.AdaGrad,
    "rmsprop": optim.RMSProp,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "nadam": optim.NAdam,
    "lion": optim.Lion,
}
WITH_RHO = {"momentum", "nesterov"}
Mix = Callable[..., tuple[Tensor, Tensor]]


class Learner:
    """Train a network batch by batch.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K), on its device.
        groups: parameter groups with `params`, `lr` (the peak), `weight_decay`.
        optimizer: name of an update rule.
        schedule: progress in [0, 1] -> factor of the peak rate.
        rho: momentum of `momentum` and `nesterov`; None takes theirs.
        rho_range: momentum where the rate peaks, and where it is 0; None keeps it.
        half_lives: of Polyak's averages, steps; 0 keeps none.
        label_smoothing: share of every label spread over all classes.
        mix: `augment.mixup` or `augment.cutmix` with its alpha, and the number of classes; None
            mixes nothing.
        seed: of what is drawn in the forward pass (dropout) and in mixing.
        teacher: says the targets (N, K) of a batch instead of its labels; None lets them be.
        tuning: what sleeps and what is pulled back, where a trained network is tuned.
        memory: runs what sleeps, once for each picture it is filled with; None: all in one pass.
        world: this process among all.
        precision: `float32` or `bfloat16`.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: list[dict],
        *,
        optimizer: str,
        schedule: Callable[[float], float],
        rho: float | None,
        rho_range: tuple[float, float] | None = None,
        half_lives: Sequence[float],
        label_smoothing: float,
        mix: tuple[Mix, int] | None,
        seed: int,
        world: World,
        precision: str,
        teacher: Callable[[Tensor], Tensor] | None = None,
        tuning: Tuning | None = None,
        memory: FrozenFeatureCache | None = None,
    ):
        if optimizer not in OPTIMIZERS:
            raise UsageError("no such optimizer", where=optimizer)
        self.network, self.world, self.seed = network, world, seed
        self.averages = [optim.Average(network, half_life=h) for h in half_lives if h]
        more = {"momentum": rho} if optimizer in WITH_RHO and rho is not None else {}
        self.optimizer = OPTIMIZERS[optimizer](groups, averages=self.averages, **more)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule, self.rho_range = schedule, rho_range
        if rho_range:
            check_momentum(self.optimizer)
        self.label_smoothing, self.mix = label_smoothing, mix
        self.teacher, self.tuning, self.memory = teacher, tuning, memory
        self._parallel = world.wrap(network)
        self._bfloat16 = precision == "bfloat16"
        self._device = next(network.parameters()).device

    def step(self, batch: Batch, step: int, progress: float, whole: int) -> Tensor:
        """Learn from one batch and return its mean loss, a 0-dimensional tensor.

        Args:
            batch: this process's slice.
            step: counts from 0.
            progress: of the whole run, in [0, 1].
            whole: pictures of the batch over all processes.
        """
        factor = self.schedule(progress)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor * (progress >= group.get("wakes", 0.0))
        if self.rho_range:
            cycle_momentum(self.optimizer, momentum_for(factor, *self.rho_range))
        loss = self.backward(batch, step, whole)
        if self.tuning is not None:
            self.tuning.pull(self.optimizer.param_groups)
        self.optimizer.step()  # which updates the average in the same pass
        return loss

    def backward(self, batch: Batch, step: int, whole: int) -> Tensor:
        """Compute the gradients of one batch and return its mean loss, a 0-dimensional tensor."""
        torch.manual_seed(keys.key("step", self.seed, step, self.world.rank))
        self.network.train()
        if self.tuning is not None:
            self.tuning.rest()
        images = batch.images.to(self._device, non_blocking=True)
        targets = batch.labels.to(self._device, non_blocking=True)
        if self.mix is not None:
            mix, classes = self.mix
            how = {"seed": self.seed, "step": step, "rank": self.world.rank}
            images, targets = mix(images, soft(targets, classes), **how)
        smoothing = self.label_smoothing
        if self.teacher is not None:
            targets, smoothing = self.teacher(images), 0.0
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            if self.memory is None:
                logits = self._parallel(images)
            else:
                logits = self.memory(images, batch.indices)
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        # processes average their gradients; an uneven slice weighs by its pictures
        (loss * (len(targets) * self.world.size / whole)).backward()
        return loss.detach()

    def state_dict(self) -> dict:
        """Everything that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averages": [average.state_dict() for average in self.averages],
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        if self.memory is not None:
            self.memory.renew()
        self.optimizer.load_state_dict(state["optimizer"])
        for average, kept in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(kept)


def decay_groups(network: nn.Module, learning_rate: float, weight_decay: float) -> list[dict]:
    """Split parameters so that decay spares biases and norms, which have one dimension.

    >>> groups = decay_groups(nn.Linear(2, 2), 0.1, 0.01)
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(1, 0.01), (1, 0.0)]
    """
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    parts = [p for p in learnt if p.ndim > 1], [p for p in learnt if p.ndim <= 1]
    decays = weight_decay, 0.0
    return [
        {"params": params, "lr": learning_rate, "weight_decay": decay}
        for params, decay in zip(parts, decays, strict=True)
        if params
    ]
