"""Which weights ship: the ways to end a run, the rule that chooses among them, the model file."""

from polyak.model import WeightKind
from polyak.selection.pool import CandidatePool, Runtime
from polyak.selection.predictions import SplitPredictions, measured_by
from polyak.selection.rule import RULE, Candidate, choose
from polyak.selection.selection import Selection, select

__all__ = [
    "RULE",
    "Candidate",
    "CandidatePool",
    "Runtime",
    "Selection",
    "SplitPredictions",
    "WeightKind",
    "choose",
    "measured_by",
    "select",
]
