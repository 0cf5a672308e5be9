"""Which weights ship: candidates, their table, the model file."""

from polyak.selection.candidates import choose

__all__ = ["choose"]
