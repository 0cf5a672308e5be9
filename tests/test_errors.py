"""Errors are one safe line with a number that scripts can rely on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.PolyakError, 70),
        (errors.UsageError, 64),
        (errors.DataError, 65),
        (errors.DivergedError, 66),
        (errors.BusyError, 73),
        (errors.DiskError, 74),
        (errors.RefusedError, 76),
    ],
)
def test_exit_codes_are_stable(error, code):
    assert error("failed").exit_code == code
    assert issubclass(error, errors.PolyakError)


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (15, 143)])
def test_a_signal_has_the_shells_code(signal, code):
    assert errors.Stopped("stopped", signal=signal, kept="epoch 3").exit_code == code


def test_the_line_says_what_where_why_kept_and_then():
    error = errors.DataError(
        "cannot read", where="a.csv", why="no header", kept="runs/a", then="add one"
    )
    assert str(error) == "cannot read: a.csv: no header. Kept: runs/a. Next: add one"
    assert (error.where, error.why, error.kept) == ("a.csv", "no header", "runs/a")
    assert str(errors.DataError("cannot read", then="add one")) == "cannot read. Next: add one"


HOSTILE = [
    ("a\nb", "a\\nb"),
    ("\x1b[31mred", "\\x1b[31mred"),
    ("gpj.\u202etac", "gpj.\\u202etac"),  # right-to-left override: shows as cat.jpg
    ("\x9b2J", "\\x9b2J"),  # the eight-bit escape
    ("a\u2028b", "a\\u2028b"),
    ("\udcff", "\\udcff"),  # a name that is not UTF-8, as Python carries it
]


@pytest.mark.parametrize(("text", "expected"), HOSTILE)
def test_names_cannot_steer_the_terminal(text, expected):
    assert errors.shown(text) == expected
    assert str(errors.DataError("x", where=text)) == f"x: {expected}"


@pytest.mark.parametrize("text", ["cat", "고양이", "ネコ 1", "café", "🐈", "a b-c_d.jpg", "[bold]"])
def test_names_of_people_stay_readable(text):
    assert errors.shown(text) == text


@given(st.text(), st.text())
def test_any_text_becomes_one_encodable_line(what, where):
    line = str(errors.DataError(what, where=where, why=where, kept=what, then=where))
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")
    assert all(c.isprintable() or c in "\u00a0\u3000" or c.isspace() or ord(c) > 127 for c in line)
