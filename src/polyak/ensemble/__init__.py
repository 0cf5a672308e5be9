"""MODEL ENSEMBLES: averaged predictions."""

from polyak.ensemble.combine import combine

__all__ = ["combine"]
