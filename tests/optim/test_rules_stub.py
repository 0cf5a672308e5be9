"""The rules carry no types in their text; the stub beside them names the same functions."""

import ast
import inspect
from pathlib import Path

import pytest

from polyak.optim import rules

STUB = ast.parse(Path(str(rules.__file__)).with_suffix(".pyi").read_text(encoding="utf-8"))
TYPED = {node.name: node.args for node in STUB.body if isinstance(node, ast.FunctionDef)}


def test_the_stub_types_every_rule():
    own = {
        name
        for name, found in vars(rules).items()
        if inspect.isfunction(found) and found.__module__ == rules.__name__ and name[0] != "_"
    }
    assert TYPED.keys() == own and len(own) > 8


@pytest.mark.parametrize("name", TYPED)
def test_parameters_and_defaults_are_the_rule_s(name):
    given, arguments = inspect.signature(getattr(rules, name)).parameters, TYPED[name]
    assert [one.arg for one in arguments.args] == list(given)
    assert not arguments.kwonlyargs and arguments.vararg is None and arguments.kwarg is None
    known = [one.default for one in given.values() if one.default is not inspect.Parameter.empty]
    assert [ast.literal_eval(one) for one in arguments.defaults] == known


def test_the_rules_themselves_import_nothing_and_name_no_type():
    text = ast.parse(Path(str(rules.__file__)).read_text(encoding="utf-8"))
    assert not [n for n in ast.walk(text) if isinstance(n, ast.Import | ast.ImportFrom)]
    functions = [node for node in ast.walk(text) if isinstance(node, ast.FunctionDef)]
    assert all(one.returns is None for one in functions)
    assert not [a for one in functions for a in one.args.args if a.annotation is not None]
