"""One run's training: a session of context, the step, the only loop, validation."""

from polyak.training.loop import fit
from polyak.training.session import Session

__all__ = ["Session", "fit"]
