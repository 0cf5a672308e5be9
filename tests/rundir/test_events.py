"""Events have one JSON form, which reads back to the same event."""

import json

import pytest

from polyak.rundir.events import EndEvent, NoteEvent, StepEvent, ValidationEvent
from polyak.rundir.journal import KINDS, read_event
from polyak.rundir.plan_events import ProbeEvent

EXAMPLES = [
    StepEvent(3, 0, 0.5, 1.25, member=2),
    ValidationEvent(3, 0.5, 0.5, 0.1, 2.0, val_accuracy=0.5, seconds=3.0),
    ValidationEvent(3, 0.5, 0.5, 0.1, 2.0),
    EndEvent("average", None, [["a", "b", 3, 0.5]], 1.5, 0, "m", 9.0, 3.0, 0.1, {"average": {}}),
    NoteEvent("hello"),
    ProbeEvent(stage="head", l2=0.1, accuracy=0.9, nll=0.3),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
def test_an_event_reads_back(event):
    assert read_event(json.loads(json.dumps(event.as_json()))) == event


def test_what_is_absent_is_left_out_but_what_may_be_nothing_is_told():
    assert "val_loss" not in ValidationEvent(1, 1.0, 1.0, 0.1, 2.0).as_json()
    end = EndEvent("average", None, [], 1.0, 0, "m", 9.0, 3.0, 0.1, {}).as_json()
    assert end["evaluation"] is None and "rule" not in end and "member" not in end


def test_other_versions_are_read_as_far_as_they_are_known():
    assert read_event({"kind": "sculpture"}) is None
    assert read_event({"kind": "note", "line": "x", "colour": 3}) == NoteEvent("x")
    with pytest.raises(ValueError, match="note"):
        read_event({"kind": "note"})


def test_every_kind_has_a_name_of_its_own():
    assert len(KINDS) == 13 and "" not in KINDS
