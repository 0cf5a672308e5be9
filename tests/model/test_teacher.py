"""Distillation: the targets are the ensemble's own averaged probabilities on the same images."""

import numpy as np
import pytest
import torch

from polyak.data.images import Images
from polyak.errors import UsageError
from polyak.model import Classifier, Member, join
from polyak.model.teacher import Teacher
from polyak.networks.build import build, spec
from polyak.networks.preprocessing import Preprocessing

PAGE = Preprocessing((8, 8), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), 1.0)


def classifier(preprocessing, classes=("a", "b"), seed=0, temperature=1.0):
    torch.manual_seed(seed)
    options = {"size": preprocessing.size, "widths": (4, 4)}
    network = build("compact", 2, **options)
    network.whiten(torch.rand(64, 3, *preprocessing.size))
    return Classifier(
        [Member(network, spec("compact", 2, **options), classes, preprocessing)],
        temperature=temperature,
    )


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_the_targets_are_what_the_ensemble_predicts_of_the_same_images(mean):
    other = Preprocessing((8, 8), (0.1, 0.2, 0.3), (0.5, 0.4, 0.3), 1.0)
    whole = join([classifier(PAGE, temperature=2.0), classifier(other, ("b", "a"), 1)])
    whole.temperature, whole.mean = 1.5, mean
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    want, _ = whole.probabilities(Images.of(pixels))
    x = (pixels / 255 - np.array(PAGE.mean)) / np.array(PAGE.std)
    inputs = torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2)
    found = Teacher(whole, PAGE, ("a", "b"))(inputs)
    assert np.allclose(found.numpy(), want, atol=1e-5)
    turned = Teacher(whole, PAGE, ("b", "a"))(inputs)
    assert np.allclose(turned.numpy(), want[:, ::-1], atol=1e-5)


def test_a_teacher_of_another_size_sees_the_image_in_its_size():
    large = Preprocessing((16, 16), PAGE.mean, PAGE.std, 1.0)
    inputs = torch.rand(3, 3, 8, 8)
    found = Teacher(classifier(large), PAGE, ("a", "b"))(inputs)
    assert found.shape == (3, 2) and torch.allclose(found.sum(1), torch.ones(3))


def test_a_teacher_of_other_classes_is_refused():
    with pytest.raises(UsageError, match="same classes"):
        Teacher(classifier(PAGE), PAGE, ("a", "dog"))
