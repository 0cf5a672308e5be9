import math
import time
from types import SimpleNamespace

import pytest

from polyak.training.pace import Clock, Pace
from polyak.training.validation import Validator


@pytest.mark.parametrize("total", [1, 3, 7, 49, 1001])
def test_a_run_of_n_steps_takes_n_steps(total):
    pace = Pace(1 / total)
    step = 0
    while not pace.over(step):
        step += 1
    assert step == total
    assert pace.at(step) == pytest.approx(1)


def test_bending_the_pace_leaves_no_jump_and_ends_where_it_says():
    pace = Pace(1 / 100)
    for step, left in ((10, 50), (30, 200), (31, 7)):
        before = pace.at(step)
        pace = pace.replanned(step, left)
        assert pace.at(step) == pytest.approx(before)
    assert not pace.over(37)
    assert pace.over(38)


def test_progress_never_passes_one():
    assert Pace(0.4).at(10) == 1


def test_steps_left_is_what_time_allows(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = Clock(600.0, began=900.0)
    clock.load_state_dict({"spent": 50.0})
    assert clock.elapsed() == 150
    for _ in range(200):
        clock.note_step(0.5)
    clock.validation_seconds, clock.finish_seconds = 10.0, 30.0
    # 600 - 150 spent - 2 validations of 10 - 30 to finish = 400 s at 0.5 s a step
    assert clock.steps_left(validations_left=2) == 800


def test_only_recent_steps_count():
    clock = Clock(1e6, began=time.monotonic())
    clock.note_step(1e9)
    for _ in range(100):
        clock.note_step(1.0)
    assert math.isclose(clock.steps_left(0), 1e6, rel_tol=1e-3)


def test_when_time_is_up_one_step_is_left():
    clock = Clock(10.0, began=time.monotonic() - 60)
    clock.note_step(1.0)
    assert clock.steps_left(3) == 1


def finish_seconds(trained, held_out=0, views=1):
    """Seconds kept for the end of a run with two averages beside its weights, 10 ms an image."""
    loader = SimpleNamespace(labels=range(trained), batch_size=10)
    how = {"times": 1, "patience": None, "views": views, "check": None, "candidates": 3}
    validator = Validator({"val": range(held_out)}, loader, None, None, **how)
    validator.image_seconds = validator.refresh_seconds = 0.01
    return validator.finish_seconds()


def test_the_end_keeps_no_more_time_than_there_are_images():
    assert finish_seconds(100) > 2.0  # the statistics of two averages
    assert finish_seconds(200) - finish_seconds(100) == pytest.approx(2.0)
    assert finish_seconds(10_000) == finish_seconds(20_000) < 100


def test_the_end_keeps_time_for_every_candidate_and_for_all_views_of_the_chosen():
    kept = finish_seconds(100, 1000, views=2) - finish_seconds(100)
    assert 50 < kept < 52  # 1000 images by three candidates, and in two views by one
