"""Remembered probes are the solved ones to the bit, and only for the same question."""

import numpy as np
import pytest

from polyak.transfer import probe, solutions
from polyak.transfer.solutions import ProbeCache


@pytest.fixture
def question():
    draw = np.random.default_rng(0)
    labels = np.array([0, 1, 2] * 20)
    return draw.normal(size=(60, 5)).astype(np.float32) + labels[:, None], labels


def test_a_remembered_probe_is_the_solved_one(question, tmp_path, monkeypatch):
    solved = probe(*question, 3, widths=(2, 3))
    ProbeCache(tmp_path).probe(*question, 3, widths=(2, 3))
    monkeypatch.setattr(solutions, "probe", None)
    found = ProbeCache(tmp_path).probe(*question, 3, widths=(2, 3))
    for name in ("weight", "bias", "log_probs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(solved, name))
    assert (found.l2, found.measured) == (solved.l2, solved.measured)


def test_another_question_is_solved(question, tmp_path, monkeypatch):
    x, labels = question
    ProbeCache(tmp_path).probe(x, labels, 3)
    monkeypatch.setattr(solutions, "probe", lambda *_, **__: "solved")
    monkeypatch.setattr(solutions.cache, "making", None)  # what follows is not kept
    other = x.copy()
    other[3, 2] += 1e-3
    for asked, more in [((other, labels), {}), ((x, labels[::-1]), {}), (question, {"seed": 1}),
                        (question, {"widths": (2, 3)})]:  # fmt: skip
        with pytest.raises(TypeError):
            ProbeCache(tmp_path).probe(*asked, 3, **more)


def test_a_damaged_one_is_solved_again(question, tmp_path):
    first = ProbeCache(tmp_path).probe(*question, 3)
    (table,) = tmp_path.glob("probe-*/table.npy")
    table.write_bytes(table.read_bytes()[:-8] + b"\x00" * 8)
    again = ProbeCache(tmp_path).probe(*question, 3)
    np.testing.assert_array_equal(again.weight, first.weight)
