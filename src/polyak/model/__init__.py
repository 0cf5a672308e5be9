"""The trained classifier: one portable file, no pickle, predicting with training's own pixels."""

from polyak.model.classifier import Classifier
from polyak.model.file import load, save
from polyak.model.held_out import LabelledData
from polyak.model.joined import join
from polyak.model.kinds import WeightKind
from polyak.model.member import Member
from polyak.model.predictions import Predictions

__all__ = [
    "Classifier",
    "LabelledData",
    "Member",
    "Predictions",
    "WeightKind",
    "join",
    "load",
    "save",
]
