"""The house's rules: what breaks one is on its list in tests/gates, and the lists only shrink."""

import ast

import pytest

import house_rules
import who_tests
from house_rules import GATES, Module

NEXT = "mend it, or, where something went, write the lists anew: python tests/house_rules.py"


@pytest.mark.parametrize("gate", GATES)
def test_nothing_breaks_a_rule_that_is_not_known(gate):
    new = sorted(set(house_rules.found(gate)) - set(house_rules.listed(gate)))
    assert new == [], NEXT


@pytest.mark.parametrize("gate", GATES)
def test_what_is_mended_is_off_the_list(gate):
    gone = sorted(set(house_rules.listed(gate)) - set(house_rules.found(gate)))
    assert gone == [], NEXT


def test_every_module_has_its_test_file_or_a_reason():
    assert who_tests.reasons() == who_tests.renewed(), NEXT
    assert who_tests.wanting() == list(who_tests.reasons())


def seen(gate, text, name="optim.average"):
    return list(GATES[gate](Module(name, ast.parse(text))))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(a, b, c, d, e, g): ...", []),
        ("def f(a, b, c, d, e, g, h): ...", ["optim.average.f 7"]),
        ("def f(a, b, /, c, d, *e, g, **h): ...", ["optim.average.f 7"]),
        ("class A:\n def f(self, a, b, c, d, e, g): ...", []),
        ("class A:\n @staticmethod\n def f(a, b, c, d, e, g, h): ...", ["optim.average.A.f 7"]),
        ("def f():\n async def g(a, b, c, d, e, g, h): ...", ["optim.average.f.g 7"]),
        ("@numba.njit(nogil=True)\ndef f(a, b, c, d, e, g, h): ...", []),
        ("@functools.cache\ndef f(a, b, c, d, e, g, h): ...", ["optim.average.f 7"]),
    ],
)
def test_parameters_are_counted(text, found):
    assert seen("parameters", text) == found


def test_constructors_like_torchs_and_the_rules_may_take_more():
    takes = "(self, a, b, c, d, e, g, h): ..."
    text = f"class A:\n def __init__{takes}\n def f{takes}"
    assert seen("parameters", text, "optim.optimizers") == ["optim.optimizers.A.f 7"]
    assert seen("parameters", text, "optim.rules") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f() -> tuple[int, int, int]: ...", []),
        ("def f() -> tuple[int, ...]: ...", []),
        ("def f() -> tuple[int, int, int, int]: ...", ["optim.average.f 4"]),
        ("def f() -> Generator[int, None, tuple[int, int, int, int]]: ...", ["optim.average.f 4"]),
        ("def f():\n if a:\n  return 1, 2, 3, *b", ["optim.average.f 4"]),
        ("def f():\n return sorted((1, 2, 3, 4))", []),
        ("def f():\n def g():\n  return 1, 2, 3, 4", ["optim.average.f.g 4"]),
        ("@jit\ndef f():\n return 1, 2, 3, 4", []),
    ],
)
def test_results_are_counted(text, found):
    assert seen("results", text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(a: int) -> int: ...", []),
        ("def f(a: int): ...", ["optim.average.f"]),
        ("def f(a) -> int: ...", ["optim.average.f"]),
        ("def f(*, a: int, **more) -> int: ...", ["optim.average.f"]),
        ("class A:\n def __init__(self, a: int): ...\n def f(self) -> int: ...", []),
        ("class A:\n def __init__(self, a): ...", ["optim.average.A.__init__"]),
        ("class A:\n def __call__(self): ...", ["optim.average.A.__call__"]),
        ("def _f(a): ...\nclass _A:\n def f(self): ...", []),
        ("def f() -> int:\n def g(a): ...", []),
    ],
)
def test_lacking_types_are_seen(text, found):
    assert seen("untyped", text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("said = 1\nfor how in a: ...", ["how", "said"]),
        ("def f(page, *, looks=1, **told): ...", ["looks", "page", "told"]),
        (
            "class Pot:\n calm: float\n def cook(self): self.hope = 1",
            ["Pot", "calm", "cook", "hope"],
        ),
        ("import numpy as page\nfrom a import b as doubt", ["doubt", "page"]),
        ("x = np.where(a, said(b), how.page)\nprint('said', told=1)", []),
        ("def f(first, where, least): ...", ["least", "where"]),
        ("def f():\n first, *rest = a\n where = 1\n def go(): ...", []),
        (
            "class A:\n def rest(self): ...\n where = 1\n def f(self): self.room = 1",
            ["rest", "room", "where"],
        ),
        ("words = choice = 1", []),
    ],
)
def test_old_words_are_seen_where_a_name_is_given(text, words):
    assert seen("old_words", text) == [f"optim.average: {word}" for word in words]


def test_some_words_are_meant_and_some_name_a_module():
    assert seen("old_words", "page = said = 1", "report.page") == ["report.page: said"]
    assert seen("old_words", "x = 1", "train.job") == ["train.job: job"]
    assert seen("old_words", "x = 1", "data.alike") == ["data.alike: alike"]


def test_a_list_never_becomes_longer(tmp_path, monkeypatch, capsys):
    lines = ["optim.average.f 7", "optim.average.g 8"]
    kept = {gate: house_rules.found(gate) for gate in GATES} | {"parameters": tuple(lines)}
    monkeypatch.setattr(house_rules, "found", kept.__getitem__)
    for gate in GATES:
        (tmp_path / f"{gate}.txt").write_text("".join(f"{n}\n" for n in kept[gate]))
    monkeypatch.setattr(house_rules, "LISTS", tmp_path)
    monkeypatch.setattr(who_tests, "REASONS", tmp_path / "tested_elsewhere.txt")
    assert house_rules.main() == 0
    (tmp_path / "parameters.txt").write_text("".join(f"{line}\n" for line in lines[1:]))
    capsys.readouterr()
    assert house_rules.main() == 1
    assert f"longer, and left as it was; new:\n  {lines[0]}\n" in capsys.readouterr().out
    assert house_rules.listed("parameters") == lines[1:]
    (tmp_path / "parameters.txt").write_text("".join(f"{line}\n" for line in ["a.gone", *lines]))
    assert house_rules.main() == 0
    assert house_rules.listed("parameters") == lines


def test_a_reason_that_does_not_hold_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(who_tests, "REASONS", tmp_path / "tested_elsewhere.txt")
    who_tests.REASONS.write_text(
        "optim.norm: tests/test_errors.py\noptim.gone: tests/test_files.py\n"
        "optim.ruled: tests/optim/test_state.py\n"
    )
    found = who_tests.renewed()
    assert found["optim.norm"].startswith("tests/optim/")
    assert found["optim.ruled"] == "tests/optim/test_state.py"
    assert "optim.gone" not in found
