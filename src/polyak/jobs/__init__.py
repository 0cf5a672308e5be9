"""The stages of a command: open, plan, fit, select; members of an ensemble; resuming."""

from polyak.jobs.stream import stream

__all__ = ["stream"]
