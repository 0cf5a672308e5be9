"""Which weights ship: the ways to end a run, the rule that chooses among them, the model file."""

from polyak.model import WeightKind
from polyak.selection.out_of_fold import OUT_OF_FOLD, fold_figures
from polyak.selection.pool import CandidatePool, Runtime
from polyak.selection.predictions import SplitPredictions, measured_by
from polyak.selection.rule import RULE, Candidate, choose
from polyak.selection.selection import Selection, select

__all__ = [
    "OUT_OF_FOLD",
    "RULE",
    "Candidate",
    "CandidatePool",
    "Runtime",
    "Selection",
    "SplitPredictions",
    "WeightKind",
    "choose",
    "fold_figures",
    "measured_by",
    "select",
]
