"""The rule that chooses: within one standard error of the highest accuracy, the lowest NLL."""

from polyak.selection.candidates import Candidate, choose


def candidate(name, accuracy, nll, passes, refused=""):
    return Candidate(name, name, (name,), (accuracy, -nll, -passes), refused=refused)


def test_noise_in_accuracy_does_not_buy_passes():
    found = [candidate("average", 0.567, 1.170, 1), candidate("members", 0.571, 1.194, 5)]
    assert choose(found, 1500).name == "average"  # one standard error is 0.0128
    assert choose(found, 100_000).name == "members"  # and now 0.0016


def test_equals_go_to_the_cheaper_and_then_to_the_first():
    found = [candidate("members", 0.9, 0.3, 5), candidate("soup", 0.9, 0.3, 1)]
    assert choose(found, 100).name == "soup"
    assert choose([found[1], candidate("last", 0.9, 0.3, 1)], 100).name == "soup"


def test_the_refused_do_not_stand_and_without_validation_the_first_wins():
    found = [candidate("soup", 0.99, 0.1, 1, "no basin"), candidate("average", 0.0, 0.0, 1)]
    assert choose([*found, candidate("weights", 0.0, 0.0, 1)], 0).name == "average"
