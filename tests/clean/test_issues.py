"""The table of issues is what people edit and training reads: nothing is lost on the way."""

import csv

import pytest

from polyak.clean.issues import KINDS, Issue, ordered, write_issues
from polyak.data.exclude import read_excluded


def test_what_is_written_is_read_whatever_the_path(tmp_path):
    names = [
        "a b.jpg",
        'quote".jpg',
        "komma,.jpg",
        "=1+1.jpg",
        "고양이.jpg",
        "line\nbreak.jpg",
        "-x.jpg",
    ]
    write_issues(tmp_path / "i.csv", [Issue(name, "label", 0.1, "cat") for name in names])
    assert read_excluded(tmp_path / "i.csv") == set(names)


def test_only_what_is_surely_useless_is_left_out_at_first(tmp_path):
    write_issues(tmp_path / "i.csv", [Issue(kind, kind, 0.5, "cat") for kind in KINDS])
    assert read_excluded(tmp_path / "i.csv") == {"contradiction", "label", "copy"}
    with (tmp_path / "i.csv").open() as file:
        first = next(csv.DictReader(file))
    assert first["exclude"] == "yes" and first["probability"] == ""


@pytest.mark.parametrize("seed", range(3))
def test_the_gravest_and_likeliest_come_first(seed):
    found = [Issue(f"{i}", kind, i / 9, "x") for i in range(9) for kind in reversed(KINDS)]
    kinds = [one.kind for one in ordered(found[seed:])]
    assert kinds == sorted(kinds, key=KINDS.index)
    scores = [one.score for one in ordered(found) if one.kind == "odd"]
    assert scores == sorted(scores)
