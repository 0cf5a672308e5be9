"""The attack in its short form, and that it sees what it looks for."""

import faulthandler
import os
import signal
import time

import numpy as np
import pytest

from attack import images, run
from attack.bases import texture

SHORT = 300


def test_a_few_hundred_inputs_find_nothing():
    outcomes = run.campaign(run.TARGETS["images"], seed=1, count=SHORT)
    assert run.bad(outcomes) == []
    assert {one.number for one in outcomes} == set(range(SHORT))
    assert {one.format for one in outcomes} == {"JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"}
    results = [one.result for one in outcomes]
    assert min(results.count("used"), results.count("refused")) > SHORT / 5


def test_a_few_hundred_whole_files_with_flat_parts_are_used():
    outcomes = run.campaign(run.TARGETS["whole"], seed=1, count=SHORT)
    assert run.bad(outcomes) == []
    assert [one.result for one in outcomes].count("used") > SHORT * 0.8


def target(attack):
    return run.Target(lambda seed, number: ("BMP", "cut"), attack)


def dies(seed, number):
    if number == 3:
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)
    return "used"


def hangs(seed, number):
    time.sleep(5 * (number == 3))
    return "used"


def raises(seed, number):
    return "used" if number != 3 else str(1 / 0)


@pytest.mark.parametrize(
    ("attack", "said"), [(dies, "crash: -11"), (hangs, "hang"), (raises, "ZeroDivisionError")]
)
def test_crashes_hangs_and_exceptions_are_seen_and_the_others_go_on(attack, said):
    outcomes = list(run.run(target(attack), 0, list(range(6)), limit=1))
    assert [one.number for one in outcomes] == list(range(6))
    assert [one.result.startswith(said) for one in outcomes] == [i == 3 for i in range(6)]
    assert "3: BMP, cut: " + said in run.table(outcomes)
    assert "6 inputs, 1 bad" in run.table(outcomes)


def test_what_is_done_is_remembered(tmp_path):
    state = tmp_path / "state"
    first = run.campaign(target(dies), 0, 5, state)
    again = run.campaign(target(raises), 0, 7, state, workers=2)
    assert again[:5] == first and "crash" in again[3].result
    assert [one.result for one in again[5:]] == ["used", "used"]


def test_what_inputs_begin_with_is_made_once_before_all_workers():
    made = []
    prepared = run.Target(
        lambda seed, number: ("BMP", "cut"),
        lambda seed, number: "used" if made == [1] else "refused",
        lambda: made.append(1),
    )
    outcomes = run.campaign(prepared, 0, 6, workers=2)
    assert [one.result for one in outcomes] == ["used"] * 6


def test_an_input_is_a_function_of_seed_and_number():
    one, other = images.made(5, 17), images.made(5, 17)
    assert one == other and one[2] != images.made(5, 18)[2] and one[2] != images.made(6, 17)[2]


def test_flat_ends_are_measured_in_blocks():
    pixels = texture(np.random.default_rng(0), 64, 80)
    assert images.flat_tail(pixels) == 0
    pixels[48:] = 128
    assert images.flat_tail(pixels) == 2 / 8
    pixels[40:48, 40:] = pixels[40, 40:]  # columns all alike, as predictors make them
    assert images.flat_tail(pixels) == 2.5 / 8
