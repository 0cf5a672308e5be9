"""The rule that chooses: within one standard error of the highest accuracy, the lowest NLL."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from polyak import metrics
from polyak.selection import Candidate, WeightKind, choose
from polyak.selection.rule import choose_by, harmed
from polyak.targets import SINGLE_LABEL, value_by


def candidate(name, accuracy, nll, passes, refused="", eligible=True):
    states = tuple(f"{name} {number}" for number in range(passes))
    kind = WeightKind.MEMBERS if passes > 1 else WeightKind.WEIGHTS
    return Candidate(name, kind, states, accuracy, nll, refused=refused, eligible=eligible)


def test_noise_in_accuracy_does_not_buy_passes():
    found = [candidate("average", 0.567, 1.170, 1), candidate("members", 0.571, 1.194, 5)]
    assert choose(found, 1500).name == "average"  # one standard error is 0.0128
    assert choose(found, 100_000).name == "members"  # and now 0.0016


def test_equals_go_to_the_cheaper_and_then_to_the_first():
    found = [candidate("members", 0.9, 0.3, 5), candidate("soup", 0.9, 0.3, 1)]
    assert choose(found, 100).name == "soup"
    assert choose([found[1], candidate("last", 0.9, 0.3, 1)], 100).name == "soup"


def test_passes_count_weights_and_not_how_often_each_counts():
    one = Candidate("2 of 3", WeightKind.MEMBERS, ("a", "b", "b", "b"))
    assert one.passes == 2


def test_the_refused_do_not_stand_and_without_validation_the_first_wins():
    found = [candidate("soup", 0.99, 0.1, 1, "no basin"), candidate("average", 0.0, 0.0, 1)]
    assert choose([*found, candidate("weights", 0.0, 0.0, 1)], 0).name == "average"


def test_what_is_only_measured_for_comparison_is_not_chosen():
    probe = candidate("probe", 0.99, 0.1, 1, eligible=False)
    assert choose([probe, candidate("average", 0.5, 0.9, 1)], 100).name == "average"


@pytest.mark.parametrize(("lost", "images", "harm"), [
    (0.5, 4, False),  # a few images prove little
    (0.5, 400, True),
    (0.05, 400, False),
    (-0.5, 400, False),
])  # fmt: skip
def test_harm_is_two_standard_errors(lost, images, harm):
    draw = np.random.default_rng(0)
    hard, luck = draw.exponential(size=images), draw.normal(size=images)  # one of 400: 0.05
    assert harmed(hard, hard + lost + luck - luck.mean()) == harm


def test_without_validation_there_is_no_harm():
    assert not harmed(np.zeros(0), np.zeros(0))


def test_another_figure_may_choose():
    """Of 90 ants and 10 bees: one answers ant, one finds bees, one is sure of what it says."""
    labels = np.repeat([0, 1], [90, 10])
    ants, bees, sure = np.tile([[0.9, 0.1]], (100, 1)), np.full((100, 2), 0.5), np.zeros((100, 2))
    bees[:80], bees[80:] = [0.55, 0.45], [0.45, 0.55]  # 10 ants are taken for bees
    sure[:, 0] = np.where(np.arange(100) < 90, 0.97, 0.55)
    sure[:, 1] = 1 - sure[:, 0]
    logs = {name: np.log(odds) for name, odds in (("a", ants), ("b", bees), ("s", sure))}
    found = [candidate(name, 0.9, metrics.nll(one, labels), 1) for name, one in logs.items()]
    chosen = {}
    for by in ("nll", "accuracy", "balanced", "f1"):
        values = {name: value_by(by, SINGLE_LABEL, one, labels) for name, one in logs.items()}
        chosen[by] = choose_by(values, found).name
    assert chosen == {"nll": "s", "accuracy": "s", "balanced": "b", "f1": "b"}
    both = np.array([f1_score(labels, one.argmax(1), average="macro") for one in logs.values()])
    assert value_by("f1", SINGLE_LABEL, logs["b"], labels) == both[1]
    recall = balanced_accuracy_score(labels, logs["b"].argmax(1))
    assert value_by("balanced", SINGLE_LABEL, logs["b"], labels) == recall
