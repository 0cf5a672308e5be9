"""Several backbones on the same images: probes of each, cheapest first, and their joint answer."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from polyak import metrics, transfer
from polyak.data.parts import Part
from polyak.decoding.decode import min_size_for
from polyak.ensemble import combine, greedy, tempered
from polyak.networks import pretrained
from polyak.networks.pretrained import Pretrained
from polyak.planning.probes import Backbone, ProbeResults, fit_probes
from polyak.rundir.events import Event
from polyak.rundir.plan_events import BackboneEvent
from polyak.training.session import Session
from polyak.transfer import Probe

SIZES = (96, 160, 224, 288)  # pixels a side that are tried, where the size is open
BETTER = 0.02  # share of the NLL that larger images must take off to be worth their price
TIMED = 64  # images
PAYS = 0.03  # the same of each more backbone that is joined


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
        return tempered(self.probe.log_probs[self.held_out], self.temperature)

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
        return BackboneEvent(self.model, self.size, self.strategy, accuracy, nll, spent)


@dataclass(frozen=True)
class Joined:
    """Hold backbones whose probes predict together, each as often as it counts.

    Args:
        members: at least one; the first is the best of them alone.
        weights: how often each counts.
        log_probs: of the images that cross-validation held out, float32 (m, K); of several their
            mean, not calibrated.
    """

    members: tuple[Probed, ...]
    weights: tuple[int, ...]
    log_probs: np.ndarray

    @classmethod
    def alone(cls, one: Probed) -> "Joined":
        """Let one predict."""
        return cls((one,), (1,), one.probe.log_probs[one.held_out])

    @property
    def labels(self) -> np.ndarray:
        """The true classes of those images: int64 (m,)."""
        first = self.members[0]
        return first.labels[first.held_out]

    @cached_property
    def measured(self) -> metrics.Evaluation | None:
        """Figures on those images, calibrated; None where there are none."""
        if not len(self.labels):
            return None
        kind = self.members[0].results.train.dataset.kind
        temperature = kind.temperature(self.log_probs, self.labels)
        return kind.evaluate(kind.probabilities(self.log_probs, temperature), self.labels)

    @cached_property
    def nll(self) -> float:
        """The NLL of those images, calibrated, nats."""
        if not len(self.labels):
            return np.inf
        kind = self.members[0].results.train.dataset.kind
        temperature = kind.temperature(self.log_probs, self.labels)
        return kind.score(kind.log_probs(self.log_probs, temperature), self.labels)[1]

    def mean(self, log_probs: Sequence[np.ndarray]) -> np.ndarray:
        """Join what the members predict, each (n, K): calibrated where there are several."""
        if len(self.members) == 1:
            return log_probs[0]
        parts = zip(log_probs, self.members, strict=True)
        return combine([tempered(rows, one.temperature) for rows, one in parts], self.weights)

    @property
    def title(self) -> str:
        """What tables call it."""
        parts = zip(self.members, self.weights, strict=True)
        return " + ".join(f"{weight} {one.model}" for one, weight in parts)

    def as_json(self) -> dict[str, Any]:
        """Give what plan.json holds."""
        parts = zip(self.members, self.weights, strict=True)
        members = [{**vars(one.event()), "weight": weight} for one, weight in parts]
        accuracy = self.measured and self.measured.accuracy.value
        return {"members": members, "accuracy": accuracy, "nll": self.nll}


def join(found: Sequence[Probed]) -> Joined:
    """Join probes of several backbones: weights of least cross-validated NLL.

    Each more backbone costs a pass an image: one is taken only where it lowers the NLL by PAYS.

    Args:
        found: at least one; only those whose images have the size of the best are joined, so that
            one input goes through all of them.

    Source: slide "Model Ensembles"; Caruana et al. 2004 (greedy weights).
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
    """Weigh some backbones by cross-validation; those that do not count are left out.

    Args:
        members: at least one; the first stays the first where it counts.
    """
    first = members[0]
    labels = first.labels[first.held_out]
    log_probs = np.stack([one.log_probs for one in members])
    counts = np.bincount(greedy(log_probs, labels), minlength=len(members))
    kept = [number for number, count in enumerate(counts) if count]
    if len(kept) == 1:
        return Joined.alone(members[kept[0]])
    weights = tuple(int(counts[number]) for number in kept)
    mean = combine(log_probs[kept], weights)
    return Joined(tuple(members[number] for number in kept), weights, mean)


def sized(session: Session, side: int) -> Session:
    """Go on with images of another size, decoded for it."""
    wanted = min_size_for((side, side))
    threads = session.machine.threads.compute
    session = session.decided(size=side)
    return replace(session, data=session.data.decoded_for(wanted, threads))


class Search:
    """Probe one backbone after the other while there is time, the cheapest first.

    The size is found with the cheapest network, and the others are asked at that size.

    Args:
        first: whose session says what is open.
        others: networks that packages carry, cheapest first; the first's own among them.
    """

    def __init__(self, first: Backbone, others: Sequence[Pretrained]):
        self.session: Session = first.session
        self.unkept: list[str] = first.unkept
        self.models: list[Pretrained] = list(others)
        self.found: list[Probed] = []
        self.tried: set[tuple[str, int]] = set()
        self.pace: float = 0.0  # seconds of an image for each millisecond that the registry names

    def go_on(self, until: float) -> Generator[Event, None, None]:
        """Probe what can be done by some time of `time.monotonic()`; the first one always."""
        while (following := self._next(until)) is not None:
            one, side = following
            self.tried.add((one.model, side))
            found = yield from self._probe(one, side)
            self.found.append(found)
            yield found.event()

    @property
    def best(self) -> Probed:
        """The one of least NLL."""
        return min(self.found, key=lambda one: one.score[1])

    @property
    def over(self) -> bool:
        """Whether nothing is left to try, however much time there is."""
        return self._next(np.inf) is None

    def affordable(self, passes: float, seconds: float, share: float) -> list[Probed]:
        """Name those that can learn from each image so many times within some seconds.

        Args:
            passes: over the training images.
            seconds: that there are.
            share: what a pass of training costs, in passes of features.
        """
        images = len(self.session.data.train) * passes * share
        return [one for one in self.found if images * self._seconds(one) < seconds]

    def _seconds(self, one: Probed) -> float:
        known = pretrained.named(one.model)
        assert known is not None
        return _milliseconds(known, one.size) * self.pace

    def _next(self, until: float) -> tuple[Pretrained, int] | None:
        for one, side in self._order():
            if (one.model, side) not in self.tried and self._fits(one, side, until):
                return one, side
        return None

    def _order(self) -> list[tuple[Pretrained, int]]:
        """What to try next, best first; what was tried stands among it."""
        cheapest, asked = self.models[0], self.session.resolved.size
        if not self.found:
            return [(cheapest, asked or _first_size(self.session.data.train))]
        own = [one for one in self.found if one.model == cheapest.model]
        best = min(own, key=lambda one: one.score[1])
        found = []
        if asked is None and best is own[-1] and _gains(own):
            found = [(cheapest, side) for side in SIZES if side > best.size][:1]
        # larger images and larger networks cost alike: what a size is worth is asked first
        return found + [(one, best.size) for one in self.models]

    def _fits(self, one: Pretrained, side: int, until: float) -> bool:
        if not self.found:
            return True
        data = self.session.data
        held_out = sum(len(data.parts[name]) for name in data.held_out)
        each = _milliseconds(one, side) * self.pace
        later = sum(self._seconds(other) for other in self.found if other.size == side)
        needed = len(data.train) * each + held_out * (each + later)
        return time.monotonic() + needed < until

    def _probe(self, one: Pretrained, side: int) -> Generator[Event, None, Probed]:
        began, train = time.monotonic(), len(self.session.data.train)
        session = sized(self.session, side).decided(model=one.model, weights=one.model)
        backbone = Backbone(session, session.network(), self.unkept)
        results = yield from fit_probes(backbone)
        remembered, spent = results.features.cached, (time.monotonic() - began) / train
        if not remembered or not self.pace:
            timed = seconds_per_image(backbone) if remembered else spent
            self.pace = timed / _milliseconds(one, side)
        return Probed(backbone, results, results.best, 0.0 if remembered else spent)


def seconds_per_image(backbone: Backbone) -> float:
    """Time the features of a few training images, as they are computed."""
    session, network = backbone.session, backbone.network
    train = session.data.train
    few = train.take(np.linspace(0, len(train) - 1, min(TIMED, len(train))).astype(int))
    settings = transfer.Settings(backbone.widths, session.machine.threads.loader)
    began = time.monotonic()
    transfer.extract(
        network.module, few.images, network.preprocessing, few.dataset.digests, settings=settings
    )
    return (time.monotonic() - began) / len(few)


def _gains(own: Sequence[Probed]) -> bool:
    """Whether the last size took enough off the NLL of the one before."""
    if len(own) < 2:
        return True
    return own[-1].score[1] < (1 - BETTER) * own[-2].score[1]


def _first_size(train: Part) -> int:
    """Where to begin: small images gain little from being drawn much larger."""
    side = int(np.median(train.dataset.sizes.min(1)))
    return SIZES[0] if side <= SIZES[0] else SIZES[1]


def _milliseconds(one: Pretrained, side: int) -> float:
    return one.milliseconds * (side / 224) ** 2
