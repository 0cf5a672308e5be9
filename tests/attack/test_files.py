"""The attack on files in its short form, and that it sees what it looks for."""

import numpy as np
import pytest

from attack import edits, files, run, stored
from polyak.errors import RefusedError

SHORT = 200


@pytest.fixture(scope="module", autouse=True)
def _whole_files():
    files.bases()  # before workers are forked, so that each has them


def test_a_few_hundred_inputs_find_nothing():
    outcomes = run.campaign(run.TARGETS["files"], seed=1, count=SHORT)
    assert run.bad(outcomes) == []
    assert {one.format for one in outcomes} == set(files.READERS)
    results = [one.result for one in outcomes]
    assert min(results.count("used"), results.count("refused")) > SHORT / 10


@pytest.mark.parametrize("name", files.READERS)
def test_what_is_whole_is_used(name, tmp_path):
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        draw = np.random.default_rng(seed)
        assert files.READERS[name](tmp_path / str(seed), "whole", draw) == "used"


def test_an_input_is_a_function_of_seed_and_number(tmp_path):
    def made(seed):
        file = tmp_path / "m.safetensors"
        file.write_bytes((files.bases().folder / "model.safetensors").read_bytes())
        stored.mutated(file, "facts", np.random.default_rng([seed, 3]))
        return file.read_bytes()

    assert made(1) == made(1) != made(2)
    assert files.describe(4, 5) == files.describe(4, 5)


def raises(folder, kind, draw):
    return str(1 / 0)


def leaves(folder, kind, draw):
    with (folder / "sparse").open("wb") as file:
        file.truncate(10**13)
    return "used"


def says_two_lines(folder, kind, draw):
    error = RefusedError("x")
    error.args = ("one\ntwo",)
    raise error


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (raises, "ZeroDivisionError"),
        (leaves, "10,000,000,000,000"),
        (says_two_lines, "not one line"),
    ],
)
def test_exceptions_sparse_files_and_long_errors_are_seen(monkeypatch, each, said):
    monkeypatch.setattr(files, "READERS", dict.fromkeys(files.READERS, each))
    outcomes = list(run.run(run.TARGETS["files"], 0, [1, 2]))
    assert [one.result.startswith(said) for one in outcomes] == [True, True]


def test_edits_leave_what_they_began_with():
    page = {"a": [1, {"b": "c"}], "d": 2.5}
    found = [edits.edited(page, np.random.default_rng(n)) for n in range(200)]
    assert page == {"a": [1, {"b": "c"}], "d": 2.5}
    assert sum(one != page for one in found) > 190
