"""The public surface: every name says what it is, shows an example that runs, and exists."""

import ast
import importlib
import inspect
import runpy
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "polyak"


def module(file: Path) -> str:
    """Name a source file as Python does."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_public(file: Path) -> bool:
    """Tell a room's door: a chapter's first page, or a module that stands beside the chapters."""
    relative = file.relative_to(SOURCE)
    return relative.name == "__init__.py" or len(relative.parts) == 1


DOORS = [file for file in sorted(SOURCE.rglob("*.py")) if is_public(file)]
# the command's own rooms are used by typing, and tested by typing
COMMAND = {"polyak.__main__", "polyak.cli", "polyak.console", "polyak.options", "polyak.verbs"}
NAMES = sorted({module(file) for file in DOORS} - COMMAND)


def exported(name: str) -> list[str]:
    """List what a module offers: `__all__`, else what it defines without an underscore."""
    found = importlib.import_module(name)
    if hasattr(found, "__all__"):
        return list(found.__all__)
    return [
        key
        for key, value in vars(found).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    ]


def wanting(value: object) -> str:
    """Say what a public object lacks, if anything: a docstring, an example."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return ""  # a constant or a module: its name and the page around it say it
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value):
        text = vars(value).get("__doc__") or ""
        methods = [inspect.getdoc(one) or "" for one in vars(value).values() if callable(one)]
    else:
        methods = []
    if not text:
        return "docstring"
    return "" if any(">>> " in one for one in (text, *methods)) else "example"


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_is_documented_and_exampled(name):
    found = importlib.import_module(name)
    lacking = {key: wanting(getattr(found, key)) for key in exported(name)}
    assert {key: lack for key, lack in lacking.items() if lack} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_module_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("file", DOORS, ids=module)
def test_a_chapters_first_page_lists_what_it_imports(file):
    if file.name != "__init__.py" or module(file) not in NAMES or file.parent == SOURCE:
        pytest.skip("not a chapter")
    listed = importlib.import_module(module(file)).__all__
    tree = ast.parse(file.read_text())
    bound = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(module(file))
        for alias in node.names
    }
    assert {name for name in bound if not name.startswith("_")} <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_first_page_resolves_and_refuses():
    polyak = importlib.import_module("polyak")
    assert polyak.__version__
    with pytest.raises(AttributeError):
        _ = polyak.not_there


def test_the_reference_tells_every_option():
    pages = runpy.run_path(str(SOURCE.parent.parent / "docs/make_reference.py"))
    text = pages["PAGE"].read_text()
    assert text == pages["page"](text), "python docs/make_reference.py"
    assert text.count("\n| `--") == len(pages["Recipe"].model_fields) - 1 + len(pages["BESIDE"])


def test_editors_know_every_choice():
    from polyak.recipe.choices import Choices
    from polyak.recipe.recipe import Recipe

    hints = get_type_hints(Choices)
    assert list(hints) == [name for name in Recipe.model_fields if name != "data"]
    for name, hint in hints.items():
        assert plainly(hint) == plainly(Recipe.model_fields[name].annotation), name


def plainly(hint):
    """A type without the limits of its numbers, and without paths, which stand for their text."""
    if get_origin(hint) is Annotated:
        return plainly(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return "literal", *get_args(hint)
    parts = tuple(plainly(part) for part in get_args(hint) if part is not Path)
    if len(parts) == 1 and Path in get_args(hint):
        return parts[0]
    kind = "union" if get_origin(hint) in (Union, UnionType) else get_origin(hint) or hint
    return (kind, *parts) if parts else kind


def test_what_is_lacking_is_seen():
    def bare():
        pass

    def told():
        """Say."""

    class Child(Exception):
        pass

    assert wanting(bare) == "docstring"
    assert wanting(told) == "example"
    assert wanting(Child) == "docstring"  # the parent's does not count
    assert wanting(importlib.import_module("polyak.errors").DataError) == ""
