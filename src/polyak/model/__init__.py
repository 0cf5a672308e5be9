"""The trained classifier: one portable file, no pickle, predicting with training's own pixels."""

from polyak.model.classifier import Classifier, Predictions, join
from polyak.model.file import load, save
from polyak.model.kinds import WeightKind

__all__ = ["Classifier", "Predictions", "WeightKind", "join", "load", "save"]
