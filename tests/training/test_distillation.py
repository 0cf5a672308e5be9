"""Distillation as a run: the student learns, resumes, and insists on its teacher."""

import shutil

import pytest

from jobs import results, run, steps
from polyak import load
from polyak.errors import RefusedError


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
