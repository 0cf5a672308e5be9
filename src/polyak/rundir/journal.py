"""metrics.jsonl: the events of a run, one a line, as they happened."""

from typing import Any

from polyak.rundir import plan_events as plans
from polyak.rundir.events import (
    EndEvent,
    Event,
    FeaturesEvent,
    MemberEvent,
    NoteEvent,
    StartEvent,
    StepEvent,
    ValidationEvent,
)

NAME = "metrics.jsonl"
KINDS: dict[str, type[Event]] = {
    one.kind: one
    for one in (
        StartEvent, StepEvent, FeaturesEvent, ValidationEvent, EndEvent, MemberEvent, NoteEvent,
        plans.CountsEvent, plans.ProbeEvent, plans.CellEvent, plans.CurveEvent, plans.RowEvent,
        plans.PlanEvent,
    )
}  # fmt: skip


def read_event(record: dict[str, Any]) -> Event | None:
    """Read an event's JSON form; None where the kind is of another version.

    Raises:
        ValueError: something is missing.

    >>> read_event({"kind": "features", "done": 1, "of": 2})
    FeaturesEvent(member=None, done=1, of=2)
    """
    kind = KINDS.get(str(record.get("kind")))
    return kind.from_json(record) if kind else None
