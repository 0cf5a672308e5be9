"""Distillation: the targets are the ensemble's own averaged probabilities on the same pictures."""

import shutil

import numpy as np
import pytest
import torch

from jobs import results, run, steps
from polyak import load
from polyak.errors import RefusedError, UsageError
from polyak.model import Classifier, join
from polyak.networks.build import build, spec
from polyak.networks.preprocessing import Preprocessing
from polyak.training.distillation import Teacher

PAGE = Preprocessing((8, 8), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), 1.0)


def classifier(page, classes=("a", "b"), seed=0, temperature=1.0):
    torch.manual_seed(seed)
    how = {"size": page.size, "widths": (4, 4)}
    network = build("compact", 2, **how)
    network.whiten(torch.rand(64, 3, *page.size))
    return Classifier(network, spec("compact", 2, **how), classes, page, temperature)


def test_the_targets_are_what_the_ensemble_says_of_the_same_pictures():
    other = Preprocessing((8, 8), (0.1, 0.2, 0.3), (0.5, 0.4, 0.3), 1.0)
    whole = join([classifier(PAGE, temperature=2.0), classifier(other, ("b", "a"), 1)])
    whole.temperature = 1.5
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    from polyak.data.images import Images

    want, _ = whole.probabilities(Images.of(pixels))
    x = (pixels / 255 - np.array(PAGE.mean)) / np.array(PAGE.std)
    inputs = torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2)
    said = Teacher(whole, PAGE, ("a", "b"))(inputs)
    assert np.allclose(said.numpy(), want, atol=1e-5)
    turned = Teacher(whole, PAGE, ("b", "a"))(inputs)
    assert np.allclose(turned.numpy(), want[:, ::-1], atol=1e-5)


def test_a_teacher_of_another_size_sees_the_picture_in_its_size():
    large = Preprocessing((16, 16), PAGE.mean, PAGE.std, 1.0)
    inputs = torch.rand(3, 3, 8, 8)
    said = Teacher(classifier(large), PAGE, ("a", "b"))(inputs)
    assert said.shape == (3, 2) and torch.allclose(said.sum(1), torch.ones(3))


def test_a_teacher_of_other_classes_is_refused():
    with pytest.raises(UsageError, match="same classes"):
        Teacher(classifier(PAGE), PAGE, ("a", "dog"))


def test_a_student_learns_and_resumes(job, tmp_path):
    run(job(name="teacher", epochs=6))
    teacher = {"distill": str(tmp_path / "runs/teacher"), "widths": (4, 4)}
    end = run(job(name="whole", **teacher))
    plain = run(job(name="plain", widths=(4, 4)))
    assert end["candidates"] != plain["candidates"]
    assert load(tmp_path / "runs/whole").classes == load(tmp_path / "runs/teacher").classes
    steps(job(**teacher), 5)
    run(job(**teacher), resume=True)
    assert results(tmp_path / "runs/job") == results(tmp_path / "runs/whole")


def test_another_teacher_does_not_finish_the_lesson(job, tmp_path):
    run(job(name="teacher"))
    run(job(name="other", seed=1))
    steps(job(distill=str(tmp_path / "runs/teacher")), 5)
    shutil.copy(tmp_path / "runs/other/model.safetensors", tmp_path / "runs/teacher")
    with pytest.raises(RefusedError, match="teacher has changed"):
        run(job(distill=str(tmp_path / "runs/teacher")), resume=True)
