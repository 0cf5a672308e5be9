"""Which backbones are probed within a budget, at which size: the cheapest first."""

import time
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from polyak import transfer
from polyak.data.parts import Part
from polyak.decoding.decode import min_size_for
from polyak.networks import pretrained
from polyak.networks.pretrained import Pretrained
from polyak.planning.backbones import Probed
from polyak.planning.probes import Backbone, fit_probes
from polyak.rundir.events import Event
from polyak.training.session import Session
from polyak.transfer.features import BATCH

SIZES = (96, 160, 224, 288)  # pixels a side that are tried, where the size is open
BETTER = 0.02  # share of the NLL that larger images must take off to be worth their price
GROWING = 0.5  # of the time: what finding the size from small to large may take
TIMED = 64  # images


def sized(session: Session, side: int) -> Session:
    """Go on with images of another size, decoded for it."""
    wanted = min_size_for((side, side))
    threads = session.machine.threads.compute
    session = session.decided(size=side)
    return replace(session, data=session.data.decoded_for(wanted, threads))


class Search:
    """Probe one backbone after the other while there is time, the cheapest first.

    The size is found with the cheapest network, and the others are asked at that size. Where time
    is short the first probe is the one that a run without a budget makes: more minutes are never
    worse.

    Args:
        first: whose session says what is open.
        others: networks that packages carry, cheapest first; the first's own among them.
        ends: when all probes must be over, by `time.monotonic()`.
    """

    def __init__(self, first: Backbone, others: Sequence[Pretrained], ends: float = np.inf):
        self.first: Backbone = first
        self.ends: float = ends
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
            if (one.model, side) in self.tried:
                continue
            if self._fits(one, side, until):
                return one, side
            # a larger size gains more than another network: its time is not spent on one
            if self._is_larger(side) and self._fits(one, side, self.ends):
                return None
        return None

    def _is_larger(self, side: int) -> bool:
        return bool(self.found) and side > max(one.size for one in self.found)

    def _order(self) -> list[tuple[Pretrained, int]]:
        """What to try next, best first; what was tried stands among it."""
        cheapest, asked = self.models[0], self.session.resolved.size
        if not self.found:
            return [(cheapest, asked or self._first_side(cheapest))]
        own = [one for one in self.found if one.model == cheapest.model]
        best = min(own, key=lambda one: one.score[1])
        found = []
        if asked is None and best is own[-1] and _gains(own):
            found = [(cheapest, side) for side in SIZES if side > best.size][:1]
        # larger images and larger networks cost alike: what a size is worth is asked first
        return found + [(one, best.size) for one in self.models]

    def _first_side(self, cheapest: Pretrained) -> int:
        """Begin small and grow where that leaves time, else with the largest size that fits, up to
        the one of a run without a budget.
        """
        start, usual = (
            _first_size(self.session.data.train),
            max(self.first.network.preprocessing.size),
        )
        if self.ends == np.inf or usual <= start:
            return start
        each = seconds_per_image(self.first) / _milliseconds(cheapest, usual)
        data = self.session.data
        images = len(data.train) + sum(len(data.parts[name]) for name in data.held_out)
        sides = [side for side in SIZES if start <= side < usual] + [usual]
        seconds = {side: images * each * _milliseconds(cheapest, side) for side in sides}
        left = self.ends - time.monotonic()
        if sum(seconds.values()) <= GROWING * left:
            return start
        return max((side for side in sides if seconds[side] <= left), default=start)

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
    """Time the features of a few training images, as they are computed; the first ones warm up."""
    session, network = backbone.session, backbone.network
    train, began = session.data.train, 0.0
    settings = transfer.Settings(backbone.widths, session.machine.threads.loader)
    few = train.take(np.linspace(0, len(train) - 1, min(TIMED, len(train))).astype(int))
    for part in (few.take(np.arange(min(BATCH, len(few)))), few):
        began = time.monotonic()
        transfer.extract(
            network.module, part.images, network.preprocessing, part.dataset.digests,
            settings=settings,
        )  # fmt: skip
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
