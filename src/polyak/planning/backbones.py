"""Several backbones on the same images: what the probe of each says, and their joint answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from polyak import metrics
from polyak.ensemble import combine, tempered
from polyak.planning.probes import Backbone, ProbeResults
from polyak.rundir.plan_events import BackboneEvent
from polyak.targets import TargetKind
from polyak.transfer import Probe

PAYS = 0.03  # share of the NLL that each more backbone must take off to be worth a pass


@dataclass(frozen=True)
class Probed:
    """Hold one backbone, and what its probes reached on the training images.

    Args:
        backbone: with the session that names it.
        results: its probes.
        strategy: which of them counts.
        seconds: of an image, features and probes together; 0 where all was remembered.
    """

    backbone: Backbone
    results: ProbeResults
    strategy: str
    seconds: float

    @property
    def model(self) -> str:
        """Its name."""
        return self.backbone.session.resolved.model

    @property
    def size(self) -> int:
        """Side of its images, pixels."""
        return max(self.backbone.network.preprocessing.size)

    @property
    def probe(self) -> Probe:
        """The probe that counts."""
        return self.results.probes[self.strategy]

    @property
    def kind(self) -> TargetKind:
        """What is learned of an image."""
        return self.results.train.dataset.kind

    @property
    def labels(self) -> np.ndarray:
        """The true classes of the training images: int64 (n,)."""
        return self.results.train.labels

    @cached_property
    def held_out(self) -> np.ndarray:
        """Positions of the images that cross-validation held out: int64 (m,)."""
        return np.flatnonzero(~np.isnan(self.probe.log_probs).any(1))

    @cached_property
    def temperature(self) -> float:
        """Fitted on the images that cross-validation held out."""
        kind, rows = self.results.train.dataset.kind, self.held_out
        return kind.temperature(self.probe.log_probs[rows], self.labels[rows])

    @cached_property
    def log_probs(self) -> np.ndarray:
        """What it predicts of the held-out images, calibrated: float32 (m, K)."""
        return tempered(self.probe.log_probs[self.held_out], self.temperature, self.kind)

    @cached_property
    def score(self) -> tuple[float, float]:
        """Accuracy and NLL of those."""
        kind = self.results.train.dataset.kind
        if not len(self.held_out):
            return 0.0, np.inf
        return kind.score(self.log_probs, self.labels[self.held_out])

    def event(self) -> BackboneEvent:
        """Tell of it."""
        accuracy, nll = self.score
        spent = round(self.seconds * 1000, 1)
        measure = self.kind.measure
        return BackboneEvent(self.model, self.size, self.strategy, accuracy, nll, spent, measure)


@dataclass(frozen=True)
class Joined:
    """Hold backbones whose probes predict together, all alike.

    Args:
        members: at least one; the first is the run's own.
        log_probs: of the images that cross-validation held out, float32 (m, K); of several their
            mean, not calibrated.
    """

    members: tuple[Probed, ...]
    log_probs: np.ndarray

    @classmethod
    def alone(cls, one: Probed) -> "Joined":
        """Let one predict."""
        return cls((one,), one.probe.log_probs[one.held_out])

    @property
    def labels(self) -> np.ndarray:
        """The true classes of those images: int64 (m,)."""
        first = self.members[0]
        return first.labels[first.held_out]

    @cached_property
    def temperature(self) -> float:
        """Fitted on those images."""
        kind = self.members[0].results.train.dataset.kind
        return kind.temperature(self.log_probs, self.labels)

    @cached_property
    def measured(self) -> metrics.Evaluation | None:
        """Figures on those images, calibrated; None where there are none."""
        if not len(self.labels):
            return None
        kind = self.members[0].results.train.dataset.kind
        return kind.evaluate(
            kind.probabilities(kind.logits(self.log_probs), self.temperature), self.labels
        )

    @cached_property
    def nll(self) -> float:
        """The NLL of those images, calibrated, nats."""
        if not len(self.labels):
            return np.inf
        kind = self.members[0].results.train.dataset.kind
        return kind.score(tempered(self.log_probs, self.temperature, kind), self.labels)[1]

    def mean(self, log_probs: Sequence[np.ndarray]) -> np.ndarray:
        """Join what the members predict, each (n, K): calibrated where there are several."""
        if len(self.members) == 1:
            return log_probs[0]
        parts = zip(log_probs, self.members, strict=True)
        return combine([tempered(rows, one.temperature, one.kind) for rows, one in parts])

    @property
    def title(self) -> str:
        """What tables call it."""
        return " + ".join(one.model for one in self.members)

    def as_json(self) -> dict[str, Any]:
        """Give what plan.json holds."""
        members = [vars(one.event()) for one in self.members]
        accuracy = self.measured and self.measured.first.value
        return {"members": members, "accuracy": accuracy, "nll": self.nll}


def join(found: Sequence[Probed]) -> Joined:
    """Join probes of several backbones, those that lower the cross-validated NLL of the mean.

    All that are joined count alike: weights that were fitted too did worse on test images in eight
    of nine trials (docs/methods/transfer.md). Each costs a pass an image, so one is taken only
    where it takes PAYS off the NLL.

    Args:
        found: at least one; only those whose images have the size of the best are joined, so that
            one input goes through all of them.

    Source: slide "Model Ensembles"; Caruana et al. 2004 (one after the other).
    """
    best = min(found, key=lambda one: one.score[1])
    chosen = Joined.alone(best)
    rest = [one for one in found if one is not best and one.size == best.size]
    while rest and len(best.held_out):
        tried = [together((*chosen.members, one)) for one in rest]
        winner = min(tried, key=lambda one: one.nll)
        if winner.nll > (1 - PAYS) * chosen.nll:
            break
        chosen, rest = winner, [one for one in rest if one not in winner.members]
    return chosen


def together(members: tuple[Probed, ...]) -> Joined:
    """Let some backbones predict together, all alike.

    Args:
        members: at least one; the first is the run's own.
    """
    if len(members) == 1:
        return Joined.alone(members[0])
    mean = combine([one.log_probs for one in members])
    return Joined(members, mean)
