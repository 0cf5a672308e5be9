"""The kind of target: what is learned of an image, and what is made of a network's answer."""

from polyak.targets.balanced import BALANCED, BalancedLabel
from polyak.targets.kind import Figures, TargetKind
from polyak.targets.single_label import SINGLE_LABEL, SingleLabel

__all__ = ["BALANCED", "SINGLE_LABEL", "BalancedLabel", "Figures", "SingleLabel", "TargetKind"]
