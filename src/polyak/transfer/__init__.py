"""TRANSFER LEARNING: features of a frozen backbone, probes on them, fine-tuning, the planner."""

from polyak.transfer.features import Features, Settings, View, extract, extraction
from polyak.transfer.logistic import Rotation, solve
from polyak.transfer.probes import Probe, fold_count, folds, probe
from polyak.transfer.tuning import Tuning, depths

__all__ = [
    "Features",
    "Probe",
    "Rotation",
    "Settings",
    "Tuning",
    "View",
    "depths",
    "extract",
    "extraction",
    "fold_count",
    "folds",
    "probe",
    "solve",
]
