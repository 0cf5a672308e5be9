"""The context of a run, in one object: what to do, where, with which data, until when."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from polyak import optim
from polyak.augment import Policy
from polyak.data.loader import Loader
from polyak.data.parts import Part, Splits
from polyak.recipe.machine import Machine, cache_bytes
from polyak.recipe.resolved import Resolved
from polyak.training import optimization
from polyak.training.distributed import Process
from polyak.training.network import Network, build_network
from polyak.training.pace import Clock
from polyak.training.signals import Stop
from polyak.training.step import TrainingStep


@dataclass(frozen=True)
class Session:
    """Hold what every stage of a run needs, and make its network, loader and step.

    Args:
        resolved: every choice.
        machine: device, precision, threads.
        process: this one among all of the run.
        data: the images by split.
        clock: of the budget.
        stop: the signal that was noted.

    >>> from polyak.jobs.command import Command
    >>> from polyak.jobs.open import open_session
    >>> from polyak.recipe import make
    >>> session = open_session(Command.alone(make(data="digits", epochs=1, widths=(8, 8))))
    >>> network = session.network()
    >>> len(session.loader(network)), network.preprocessing.size, session.resolved.optimizer
    (20, (8, 8), 'nesterov')
    """

    resolved: Resolved
    machine: Machine
    process: Process
    data: Splits
    clock: Clock
    stop: Stop

    def decided(self, reason: str = "", **choices: Any) -> "Session":
        """Go on with other choices, which were measured."""
        return replace(self, resolved=self.resolved.decided(reason, **choices))

    def on(self, train: Part) -> "Session":
        """Go on with other images to train on; the held-out ones stay."""
        parts = {**self.data.parts, "train": train}
        return replace(self, data=replace(self.data, parts=parts))

    def alone(self) -> "Session":
        """The same for this process alone: it waits for no other, and averages nothing with it."""
        return replace(self, process=Process())

    def decoded(self) -> "Session":
        """Keep decoded images in memory, for training that sees them many times."""
        free = cache_bytes(self.resolved, self.process.local_size)
        return replace(self, data=self.data.decoded(self.machine.threads.compute, free))

    def network(self) -> Network:
        """Build the network with the weights that the run starts from."""
        return build_network(self.resolved, self.data.train, self.machine)

    def loader(self, network: Network) -> Loader:
        """Open the training batches: augmented, shuffled, this process's share of each."""
        wanted = network.preprocessing
        return Loader(
            self.data.train.images,
            self.data.train.labels,
            Policy.parse(self.resolved.augment),
            size=wanted.size,
            mean=wanted.mean,
            std=wanted.std,
            batch_size=self.resolved.batch_size,
            seed=self.resolved.draws,
            threads=self.machine.threads.loader,
            rank=self.process.rank,
            world=self.process.size,
            balanced=self.resolved.balance == "sampling",
        )

    def step(
        self,
        network: Network,
        steps: int,
        loader: Loader | None = None,
        teacher: Callable[[Tensor], Tensor] | None = None,
    ) -> TrainingStep:
        """Make the training step of a network.

        Args:
            network: changed in place by every step.
            steps: that are expected; averages forget by their share.
            loader: of images that frozen stages may see once and for all; None computes them anew.
            teacher: tells the targets instead of the labels.
        """
        module, resolved = network.module, self.resolved
        tuning = optimization.make_tuning(resolved, module)
        memory = None
        if self.process.size == 1:
            memory = optimization.make_memory(resolved, module, tuning, loader)
        groups = optimization.make_groups(resolved, module, tuning)
        averages = [optim.Average(module, half_life=s * steps) for s in resolved.average if s]
        optimizer = optimization.make_optimizer(resolved, groups, averages)
        return TrainingStep(
            module,
            optimizer,
            averages,
            optimization.make_rates(resolved, optimizer),
            optimization.make_targets(resolved, self.data.train.dataset, module, teacher),
            seed=resolved.draws,
            process=self.process,
            bfloat16=self.machine.precision.name == "bfloat16",
            tuning=tuning,
            memory=memory,
            falls=optimization.falls(resolved),
        )
