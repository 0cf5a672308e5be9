"""Which backbones are probed with how much time, and at which size."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from polyak.jobs.command import Command
from polyak.jobs.open import open_session
from polyak.networks import pretrained
from polyak.planning import search, strategy
from polyak.planning.probes import Backbone
from polyak.planning.search import Search
from polyak.recipe import make
from polyak.rundir.plan_events import BackboneEvent

LITE = [one.model for one in pretrained.registry()]


class Clock:
    """Time that passes only by what is probed: so many milliseconds an image."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        here = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(search, "time", here)


def searching(monkeypatch, score, size=None, images=1000, held_out=200, side=300, ends=np.inf):
    """A search whose probes cost what the registry says, and reach what `score` says."""
    clock = Clock(monkeypatch)
    dataset = SimpleNamespace(sizes=np.full((images, 2), side))
    train = SimpleNamespace(dataset=dataset, __len__=lambda: images)

    class Part(list):
        dataset = train.dataset

    data = SimpleNamespace(
        train=Part([0] * images), parts={"val": [0] * held_out}, held_out=("val",)
    )
    session = SimpleNamespace(data=data, resolved=SimpleNamespace(size=size))
    network = SimpleNamespace(preprocessing=SimpleNamespace(size=(224, 224)))
    first = SimpleNamespace(session=session, unkept=[], network=network)
    one = Search(first, pretrained.registry(), ends)
    monkeypatch.setattr(search, "seconds_per_image", lambda first: 0.017)

    def probe(self, network, at):
        each = network.milliseconds * (at / 224) ** 2 / 1000
        clock.now += images * each
        self.pace = 0.001
        found = SimpleNamespace(model=network.model, size=at, score=(0.9, score(network.model, at)))
        found.event = lambda: BackboneEvent(network.model, at, "linear", 0.9, found.score[1], 1.0)
        return found
        yield

    monkeypatch.setattr(Search, "_probe", probe)
    return one, clock


def names(found):
    return [(int(one.model[-1]), one.size) for one in found]


def test_the_size_is_found_with_the_cheapest_network(monkeypatch):
    nlls = {160: 0.5, 224: 0.3, 288: 0.299}
    one, _ = searching(monkeypatch, lambda model, at: nlls[at] - 0.01 * int(model[-1]))
    list(one.go_on(1e9))
    # 288 takes too little off: the others are asked at 288 all the same only if it is the best
    assert names(one.found)[:3] == [(0, 160), (0, 224), (0, 288)]
    assert names(one.found)[3:] == [(1, 288), (2, 288)]
    assert one.over and one.best.model == LITE[2]


def test_larger_images_that_are_no_better_are_left(monkeypatch):
    one, _ = searching(monkeypatch, lambda model, at: at / 1000)
    list(one.go_on(1e9))
    assert names(one.found) == [(0, 160), (0, 224), (1, 160), (2, 160)]


def test_small_images_begin_small_and_an_asked_size_stays(monkeypatch):
    one, _ = searching(monkeypatch, lambda model, at: 0.5, side=32)
    list(one.go_on(1e9))
    assert names(one.found)[0] == (0, 96)
    one, _ = searching(monkeypatch, lambda model, at: 0.5, size=128)
    list(one.go_on(1e9))
    assert names(one.found) == [(0, 128), (1, 128), (2, 128)]


@pytest.mark.parametrize("seconds", [12.0, 30.0, 60.0, 120.0])
def test_what_does_not_fit_is_not_begun(monkeypatch, seconds):
    one, clock = searching(monkeypatch, lambda model, at: 1 / at)
    list(one.go_on(seconds))
    each = sum(p.milliseconds * (f.size / 224) ** 2 for p in pretrained.registry()
               for f in one.found if f.model == p.model and f.size == one.best.size)  # fmt: skip
    assert clock.now + 200 * each / 1000 < seconds  # what is held out must be predicted too
    assert len(one.found) >= (1 if seconds < 30 else 2) and not (seconds < 100 and one.over)


@pytest.mark.parametrize(
    ("seconds", "first"),
    [
        (100.0, 160),  # 10.4 s at 160 pixels and 20.4 at 224, with what is held out
        (61.7, 160),
        (61.5, 224),  # 30.8 s would be more than half
        (20.5, 224),
        (20.3, 160),
        (10.3, 160),  # nothing fits, and something must be done
    ],
)
def test_in_short_time_the_first_probe_is_that_of_a_run_without_a_budget(
    monkeypatch, seconds, first
):
    one, _ = searching(monkeypatch, lambda model, at: 1 / at, ends=seconds)
    list(one.go_on(0.75 * seconds))
    assert names(one.found)[0] == (0, first)


def test_time_for_larger_images_is_not_spent_on_other_networks(monkeypatch):
    """Small networks at 96 pixels once took the time in which one at 224 was 9 points better."""
    one, clock = searching(monkeypatch, lambda model, at: 1 / at, ends=80.0)
    list(one.go_on(25.0))
    assert names(one.found) == [(0, 160)] and clock.now < 11
    list(one.go_on(80.0))
    assert names(one.found)[:2] == [(0, 160), (0, 224)]


def test_what_may_be_tuned_is_what_can_see_each_image_often_enough(monkeypatch):
    one, _ = searching(monkeypatch, lambda model, at: 1 / at)
    list(one.go_on(1e9))
    dearest = 1000 * 3 * 1.5 * 21.3 * (288 / 224) ** 2 / 1000
    assert len(one.affordable(3, dearest + 1, 1.5)) == len(one.found)
    some = one.affordable(3, dearest - 1, 1.5)
    assert set(names(one.found)) - set(names(some)) == {(2, 288)}
    assert one.affordable(3, 1.0, 1.5) == []


def test_a_first_probe_from_memory_does_not_foretell_the_next(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    session = open_session(Command.alone(make(data=str(tiny_folder), size=32, threads=1)))
    paces = []
    for _ in range(2):
        one = Search(Backbone(session, session.network()), pretrained.registry()[:1])
        list(one.go_on(time.monotonic() + 100))
        paces.append(one.pace)
    assert one.found[0].seconds == 0.0  # remembered
    assert paces[1] > paces[0] / 10


def test_times_leave_room_for_the_end():
    times = strategy.Times(0.0, 50.0, 100.0)
    assert times.searched == 37.5 and 85 < strategy._before(times) < 95
