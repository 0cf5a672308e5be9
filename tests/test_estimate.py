"""How long it will take is said once, from what was measured, and only where it is long."""

import pytest

from polyak.estimate import Estimate
from polyak.rundir.events import FeaturesEvent, NoteEvent, StepEvent


def told(events):
    """Feed events with their times; give the lines."""
    now = [0.0]
    estimate = Estimate(lambda: now[0])
    found = []
    for seconds, event in events:
        now[0] = seconds
        found += estimate.lines(event)
    return found


def features(*pairs, of=1200):
    return [(seconds, FeaturesEvent(done, of)) for seconds, done in pairs]


def test_features_are_foretold_once():
    found = told(features((0, 0), (2, 20), (5, 50), (9, 90)))
    assert found == ["about 1.9 minutes: 50 of 1,200 images took 5 s"]


def test_what_takes_less_than_a_minute_needs_no_line():
    assert told(features((0, 0), (5, 200), (10, 400), (30, 1200))) == []


def test_features_of_other_images_are_foretold_for_themselves():
    fast = features((0, 0), (5, 600), (10, 1200))
    assert len(told(fast + features((20, 0), (25, 50)))) == 1


@pytest.mark.parametrize("gap", [0.0, 300.0])
def test_a_resumed_training_counts_from_where_it_goes_on(gap):
    steps = [(gap, StepEvent(500, 4, 0.5, 1.0)), (gap + 5, StepEvent(510, 4, 0.51, 1.0))]
    assert told(steps) == ["about 4.1 minutes: 1.0% of the training took 5 s"]


def test_other_events_say_nothing():
    assert told([(0, NoteEvent("x")), (99, NoteEvent("y"))]) == []
