"""Which weights of a model file: a format, so values stay as they are."""

from enum import StrEnum


class WeightKind(StrEnum):
    """Say where weights come from; the value is what the model file calls them.

    >>> WeightKind.AVERAGE == "average", f"{WeightKind('members')}"
    (True, 'members')
    """

    AVERAGE = "average"  # of the weights along the run
    WEIGHTS = "weights"  # as training left them
    BEST = "best"  # at the best validation of a run that may stop early
    SOUP = "soup"  # the mean of several weights
    SNAPSHOT = "snapshot"  # at the end of a cycle of the learning rate
    START = "start"  # the probe that fine-tuning began with
    MEMBERS = "members"  # several networks, whose probabilities are averaged
