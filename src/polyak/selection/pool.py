"""The weights that may be chosen, and what each of them predicts of held-out images."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Tensor

from polyak import ensemble
from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.ensemble import State
from polyak.inference import as_divergence
from polyak.model import Classifier
from polyak.model.member import Member
from polyak.selection.predictions import SplitPredictions
from polyak.targets import TargetKind, kind_facts, value_by


class Part(Protocol):
    """The images of one split: what is known of them, and their pixels."""

    @property
    def dataset(self) -> Dataset:
        """Labels, classes, paths."""
        ...

    @property
    def images(self) -> Images:
        """Pixels, in the same order."""
        ...


@dataclass(frozen=True)
class Runtime:
    """How predictions are computed.

    Args:
        device: where the networks are.
        threads: of decoding and rendering.
        check: called at every batch; may raise to stop.

    >>> Runtime(threads=2).device
    'cpu'
    """

    device: str = "cpu"
    threads: int = 1
    check: Callable[[], object] = lambda: None


class CandidatePool:
    """Hold named weights, and remember what each predicts.

    Args:
        parts: the data by split: "val" chooses, "test" measures.
        batches: gives training inputs, for batch-norm statistics of averaged weights.
        runtime: how predictions are computed.
        finished: the weights are of finished models, which are calibrated: they take part in a
            mean as they are, and all of them travel in the model file.

    >>> pool = CandidatePool({}, list)  # nothing held out: nothing tells candidates apart
    >>> pool.score(["weights"]), pool.temperature(["weights"], "one")
    ((0.0, 0.0), 1.0)
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        batches: Callable[[], Iterable[Tensor]],
        runtime: Runtime | None = None,
        *,
        finished: bool = False,
    ):
        self.parts: Mapping[str, Part] = parts
        self.batches: Callable[[], Iterable[Tensor]] = batches
        self.runtime: Runtime = runtime or Runtime()
        self.finished: bool = finished
        self.states: dict[str, State] = {}
        self.members: list[str] = []  # names of those that were added, not averaged here
        self._networks: dict[str, Member] = {}
        self._log_probs: dict[tuple[str, str, str], np.ndarray] = {}
        self._temperatures: dict[str, float] = {}

    def add(self, name: str, state: State, member: Member) -> None:
        """Name some weights.

        Args:
            name: one that the pool does not know yet.
            state: in memory of its own.
            member: the network that they belong to. Several weights may share it: they are loaded
                into it whenever they predict.
        """
        self.members.append(name)
        self._put(name, state, member)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of all predictions."""
        return next(iter(self.parts.values())).dataset.classes

    @property
    def kind(self) -> TargetKind:
        """What is learned of an image."""
        return next(iter(self.parts.values())).dataset.kind

    @property
    def validated(self) -> int:
        """Images of the validation part."""
        return len(self.parts["val"].dataset) if "val" in self.parts else 0

    def log_probs(self, names: Sequence[str], split: str, views: str) -> np.ndarray:
        """Log-probabilities (N, K) by the mean of some weights, each as often as it is named; NaN
        where an image failed.
        """
        counts = Counter(names)
        if len(counts) == 1:
            return self._predicted(names[0], split, views)
        return ensemble.combine(self.each(list(counts), split, views), list(counts.values()))

    def each(self, names: Sequence[str], split: str, views: str) -> np.ndarray:
        """Log-probabilities (M, N, K) of some weights, each as it takes part in a mean."""
        parts = [(self._predicted(n, split, views), self.member_temperature(n)) for n in names]
        return np.stack([ensemble.tempered(one, t, self.kind) for one, t in parts])

    def member_temperature(self, name: str) -> float:
        """The temperature at which some weights take part in a mean; fitted once."""
        if self.finished:
            return 1.0
        if name not in self._temperatures:
            self._temperatures[name] = self.temperature((name,), "one")
        return self._temperatures[name]

    def temperature(self, names: Sequence[str], views: str) -> float:
        """Fit the temperature of some weights on validation; 1 where there is none."""
        if "val" not in self.parts:
            return 1.0
        log_probs, labels, _ = self._read(names, "val", views)
        return self.kind.temperature(log_probs, labels)

    def predictions(
        self, names: Sequence[str], split: str, views: str, temperature: float
    ) -> SplitPredictions:
        """Predict a split by some weights at a temperature."""
        kind = self.fitted(names, views, temperature)
        odds, labels, read = self._probable(names, split, views, temperature)
        return SplitPredictions(split, self.parts[split].dataset, odds, labels, read).by(kind)

    def fitted(self, names: Sequence[str], views: str, temperature: float) -> TargetKind:
        """Choose on validation what decisions of some weights depend on: thresholds of labels."""
        if not self.kind.several or "val" not in self.parts:
            return self.kind
        return self.kind.fitted(*self._probable(names, "val", views, temperature)[:2])

    def _probable(
        self, names: Sequence[str], split: str, views: str, temperature: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        log_probs, labels, read = self._read(names, split, views)
        return self.kind.probabilities(self.kind.logits(log_probs), temperature), labels, read

    def score(self, names: Sequence[str]) -> tuple[float, float]:
        """Accuracy and NLL on validation, by one view, at their own temperature; 0 without one."""
        if "val" not in self.parts:
            return 0.0, 0.0
        return self.kind.score(*self._calibrated(names))

    def value(self, names: Sequence[str], by: str) -> float:
        """Measure some weights on validation by one figure, by one view; larger is better."""
        return value_by(by, self.kind, *self._calibrated(names))

    def losses(self, names: Sequence[str]) -> np.ndarray:
        """NLL of each validation image that could be read, (n,), at their own temperature."""
        return self.kind.losses(*self._calibrated(names)) if "val" in self.parts else np.zeros(0)

    def average(self, name: str, ingredients: Sequence[str], state: State | None = None) -> None:
        """Name the mean of some weights, with batch-norm statistics of its own.

        Args:
            name: of the mean.
            ingredients: names; all of one architecture.
            state: a mean of some of them; None averages all.
        """
        # what finished models are calibrated by is no part of their weights
        member = replace(self._networks[ingredients[0]], temperature=1.0)
        states = [self.states[one] for one in ingredients]
        state = ensemble.soup(states) if state is None else state
        self._put(name, ensemble.refreshed(member.network, state, self.batches(), states), member)

    def trial(self, ingredients: Sequence[str], state: State) -> float:
        """NLL of a mean of some weights that need not be kept."""
        name = "trial"
        self.average(name, ingredients, state)
        _, loss = self.score((name,))
        del self.states[name], self._networks[name]
        self._log_probs = {key: kept for key, kept in self._log_probs.items() if key[0] != name}
        return loss

    def member(self, name: str, weight: float) -> Member:
        """Make a network of its own of some weights, calibrated, as it takes part in a mean."""
        alone = self.alone(name)
        temperature = alone.temperature * self.member_temperature(name)
        return replace(alone, temperature=temperature, weight=weight)

    def alone(self, name: str) -> Member:
        """Make a network of its own of some weights, as it predicts alone."""
        shared = self._networks[name]
        network = copy.deepcopy(shared.network)
        network.load_state_dict(self.states[name])
        return replace(shared, network=network, weight=1.0, views=None)

    def _put(self, name: str, state: State, member: Member) -> None:
        self.states[name], self._networks[name] = state, member

    def _predicted(self, name: str, split: str, views: str) -> np.ndarray:
        key = name, split, views
        if key not in self._log_probs:
            member, runtime = self._networks[name], self.runtime
            member.network.load_state_dict(self.states[name])
            one = Classifier([member], self.classes, header=kind_facts(self.kind))
            with nullcontext() if self.finished else as_divergence():
                found, _ = one.log_probabilities(
                    self.parts[split].images, views=views, device=runtime.device,
                    threads=runtime.threads, check=runtime.check,
                )  # fmt: skip
            # in rows, whatever order the classes came in: sums round by how numbers lie in memory
            self._log_probs[key] = np.ascontiguousarray(found[0])
        return self._log_probs[key]

    def _calibrated(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        log_probs, labels, _ = self._read(names, "val", "one")
        return ensemble.tempered(log_probs, self.temperature(names, "one"), self.kind), labels

    def _read(
        self, names: Sequence[str], split: str, views: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        log_probs = self.log_probs(names, split, views)
        read = np.flatnonzero(~np.isnan(log_probs).any(axis=1))
        return log_probs[read], self.parts[split].dataset.labels[read], read
