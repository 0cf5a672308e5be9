"""One run on disk: its directory, events, checkpoints, and what reads them."""

from polyak.rundir.directory import RunDirectory
from polyak.rundir.events import Event

__all__ = ["Event", "RunDirectory"]
