"""The kind of target by its labels, and as model files write it down."""

from typing import TYPE_CHECKING, Any

import numpy as np

from polyak.targets.kind import TargetKind
from polyak.targets.several_labels import SEVERAL_LABELS, SeveralLabels
from polyak.targets.single_label import SINGLE_LABEL

if TYPE_CHECKING:
    from torch import Tensor


def kind_of(labels: "np.ndarray | Tensor") -> TargetKind:
    """Tell the kind of target of some labels: (N,) of one an image, (N, K) of several.

    >>> kind_of(np.zeros((3, 2), int)).several
    True
    """
    return SINGLE_LABEL if labels.ndim == 1 else SEVERAL_LABELS


def strata(labels: np.ndarray) -> np.ndarray:
    """Give the class that splits and folds deal each image by, int64 (N,): its label; of several
    the one that the fewest images have, or K where it has none.

    >>> strata(np.array([[1, 1], [1, 0], [0, 0]])).tolist()
    [1, 0, 2]
    """
    if labels.ndim == 1:
        return labels
    has = labels > 0
    counts = has.sum(0)
    rarest = np.where(has, counts, counts.max(initial=0) + 1).argmin(1)
    return np.where(has.any(1), rarest, labels.shape[1])


def kind_facts(kind: TargetKind) -> dict[str, Any]:
    """Say of what kind a model's answers are, for its file; nothing where each image has one label.

    >>> kind_facts(SINGLE_LABEL), kind_facts(SeveralLabels((0.5,)))
    ({}, {'kind': 'several labels', 'thresholds': [0.5]})
    """
    if not isinstance(kind, SeveralLabels):
        return {}
    return {"kind": kind.name, "thresholds": kind.thresholds and list(kind.thresholds)}


def read_kind(facts: dict[str, Any], classes: int) -> TargetKind:
    """Read what `kind_facts` wrote.

    Raises:
        ValueError: no such kind, or thresholds that are none.

    >>> read_kind({"kind": "several labels", "thresholds": [0.5]}, 1).several
    True
    """
    if (name := facts.get("kind")) is None:
        return SINGLE_LABEL
    if name != SEVERAL_LABELS.name:
        raise ValueError(f"unknown kind of target {str(name)[:40]!r}")
    if (found := facts.get("thresholds")) is None:
        return SEVERAL_LABELS
    if not isinstance(found, list) or len(found) != classes:
        raise ValueError("thresholds do not fit the classes")
    if not all(type(one) in (int, float) and 0 <= one <= 1 for one in found):
        raise ValueError("a threshold is no probability")
    return SeveralLabels(tuple(map(float, found)))
