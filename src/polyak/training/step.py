"""One step of training: forward, loss, backward, rule, averages; and the state that it needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from polyak import keys
from polyak.data.loader import Batch
from polyak.ensemble import Trunk
from polyak.optim import Average
from polyak.optim.scheduler import cycle_momentum
from polyak.optim.schedules import momentum_for
from polyak.targets import SINGLE_LABEL, TargetKind
from polyak.training.distributed import Process
from polyak.transfer.memory import FrozenFeatureCache
from polyak.transfer.tuning import Tuning


class Mix(Protocol):
    """Mix pairs of images of a batch, and their targets alike."""

    def __call__(
        self, images: Tensor, targets: Tensor, *, seed: int, step: int, rank: int
    ) -> tuple[Tensor, Tensor]:
        """Return new images (N, 3, h, w) and targets (N, K)."""
        ...


@dataclass(frozen=True)
class Targets:
    """Say what a network learns of a batch, and how far it is from it.

    Args:
        classes: K.
        kind: of the targets.
        label_smoothing: share of every label spread over all classes, with an offset by their
            shares.
        mix: mixes pairs of images and their targets; None leaves both alone.
        teacher: normalised images -> probabilities (N, K) to learn instead of labels; None: labels.
        weights: float32 (K,), how much each class counts; None counts all alike.
        offset: float32 (K,), added to the logits while the network learns; None adds nothing.
    """

    classes: int
    kind: TargetKind = SINGLE_LABEL
    label_smoothing: float = 0.0
    mix: Mix | None = None
    teacher: Callable[[Tensor], Tensor] | None = None
    weights: Tensor | None = None
    offset: Tensor | None = None

    def of(
        self, images: Tensor, labels: Tensor, *, seed: int, step: int, rank: int
    ) -> tuple[Tensor, Tensor]:
        """Give the images that the network sees, and the targets that it learns from them."""
        targets = labels
        if self.mix is not None:
            mixed = self.kind.soft(targets, self.classes)
            images, targets = self.mix(images, mixed, seed=seed, step=step, rank=rank)
        if self.teacher is not None:
            targets = self.teacher(images)
        return images, targets

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the mean loss of logits (N, K), a 0-dimensional tensor."""
        smoothing = self.label_smoothing if self.teacher is None else 0.0
        if self.offset is None:
            return self.kind.loss(logits, targets, smoothing, self.weights)
        if smoothing:
            # toward the shares that the offset stands for: spread evenly, rare classes would get
            # more of an image than its own
            if not targets.is_floating_point():
                targets = self.kind.soft(targets, self.classes)
            targets = torch.lerp(targets, self.offset.exp().expand_as(targets), smoothing)
        return self.kind.loss(logits.float() + self.offset, targets, 0.0, self.weights)


@dataclass(frozen=True)
class Rates:
    """Set the learning rates of an optimizer, and its momentum, by progress.

    Args:
        schedule: progress in [0, 1] -> factor of every group's peak rate.
        peaks: the peak rate of each group.
        rho_range: momentum where the rate peaks, and where it is 0; None keeps it.
    """

    schedule: Callable[[float], float]
    peaks: list[float]
    rho_range: tuple[float, float] | None = None

    def set(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Set the rates for the next step; a group that has not woken yet has none."""
        factor = self.schedule(progress)
        for group, peak in zip(optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor * (progress >= group.get("wakes", 0.0))
        if self.rho_range:
            cycle_momentum(optimizer, momentum_for(factor, *self.rho_range))


@dataclass
class TrainingStep:
    """Train a network batch by batch.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K), on its device.
        optimizer: of its parameters; updates the averages in the same pass.
        averages: Polyak's, of its weights.
        rates: of the optimizer, by progress.
        targets: what is learned of a batch.
        seed: of what is drawn in the forward pass, and of mixing.
        process: this one among all.
        bfloat16: whether products are.
        tuning: what is frozen and what is pulled back, where a trained network is tuned.
        memory: runs what is frozen, once for each image it is filled with; None: all in one pass.
        falls: progress at which each fall of the rate begins and ends that is gone back from.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    averages: list[Average]
    rates: Rates
    targets: Targets
    seed: int = 0
    process: Process = field(default_factory=Process)
    bfloat16: bool = False
    tuning: Tuning | None = None
    memory: FrozenFeatureCache | None = None
    falls: Sequence[tuple[float, float]] = ()
    trunk: Trunk = field(init=False, repr=False)
    _parallel: nn.Module = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.trunk = Trunk(self.falls, self)
        self._parallel = self.process.wrap(self.network)
        self._device = next(self.network.parameters()).device

    def __call__(self, batch: Batch, step: int, progress: float, whole: int) -> Tensor:
        """Learn from one batch and return its mean loss, a 0-dimensional tensor.

        Args:
            batch: this process's slice.
            step: counts from 0.
            progress: of the whole run, in [0, 1].
            whole: images of the batch over all processes.
        """
        self.trunk.keep(step, progress)
        self.rates.set(self.optimizer, progress)
        loss = self.backward(batch, step, whole)
        if self.tuning is not None:
            self.tuning.toward_source(self.optimizer.param_groups)
        self.optimizer.step()  # which updates the averages in the same pass
        return loss

    def backward(self, batch: Batch, step: int, whole: int) -> Tensor:
        """Compute the gradients of one batch and return its mean loss, a 0-dimensional tensor."""
        rank = self.process.rank
        torch.manual_seed(keys.key("step", self.seed, step, rank))
        self.network.train()
        if self.tuning is not None:
            self.tuning.set_eval()
        images = batch.images.to(self._device, non_blocking=True)
        labels = batch.labels.to(self._device, non_blocking=True)
        images, targets = self.targets.of(images, labels, seed=self.seed, step=step, rank=rank)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.bfloat16):
            if self.memory is None:
                logits = self._parallel(images)
            else:
                logits = self.memory(images, batch.indices)
        loss = self.targets.loss(logits, targets)
        self.optimizer.zero_grad(set_to_none=True)
        # processes average their gradients; an uneven slice weighs by its images
        (loss * (len(targets) * self.process.size / whole)).backward()
        return loss.detach()

    @property
    def learning_rate(self) -> float:
        """The rate of the first group at the last step."""
        return self.optimizer.param_groups[0]["lr"]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averages": [average.state_dict() for average in self.averages],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        if self.memory is not None:
            self.memory.renew()
        self.optimizer.load_state_dict(state["optimizer"])
        for average, kept in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(kept)
