"""The kind of target: what is learned of an image, and what is made of a network's answer."""

from polyak.targets.balanced import BALANCED, BalancedLabel
from polyak.targets.chosen_by import ChooseBy, value_by
from polyak.targets.facts import kind_facts, kind_of, read_kind, strata
from polyak.targets.kind import Figures, TargetKind
from polyak.targets.several_labels import SEVERAL_LABELS, SeveralLabels
from polyak.targets.single_label import SINGLE_LABEL, SingleLabel

__all__ = [
    "BALANCED",
    "SEVERAL_LABELS",
    "SINGLE_LABEL",
    "BalancedLabel",
    "ChooseBy",
    "Figures",
    "SeveralLabels",
    "SingleLabel",
    "TargetKind",
    "kind_facts",
    "kind_of",
    "read_kind",
    "strata",
    "value_by",
]
