"""The plan of the house holds: imports go down, files and functions are small, torch is late."""

import ast
import graphlib
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
SOURCE = HOUSE / "src" / "polyak"
SCRIPTS = sorted((HOUSE / "scripts").iterdir())
FILES = sorted(SOURCE.rglob("*.py"))

# top to bottom; rooms of one row do not know one another
ROWS = (
    ("__init__", "__main__"),
    ("cli",),
    ("verbs",),
    ("train",),  # the name that 0.1 had, for one version
    ("api",),
    ("console", "options"),
    ("doctor", "race"),
    ("estimate",),
    ("jobs",),
    ("report",),
    ("planning",),
    ("training",),
    ("rundir",),
    ("recipe",),
    ("selection",),
    ("clean", "export", "transfer"),
    ("model",),
    ("inference",),
    ("ensemble",),
    ("networks",),
    ("data",),
    ("targets",),
    ("metrics",),
    ("augment", "optim", "regularize"),
    ("decoding",),
    ("precision", "tensor_file"),
    ("locks",),
    ("files", "machine"),
    ("errors", "keys"),
)
ROW = {room: number for number, rooms in enumerate(ROWS) for room in rooms}


def module(file: Path) -> str:
    """Name a source file as Python does: src/polyak/optim/rules.py is polyak.optim.rules."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """Name the room of a module: polyak.optim.rules lies in optim, polyak itself in __init__."""
    return [*name.split("."), "__init__"][1]


def imported(tree: ast.AST) -> set[str]:
    """Collect the names imported from polyak, wherever the import stands."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "polyak"} - {"polyak.__version__"}


def upwards(name: str, tree: ast.AST) -> list[str]:
    """List the imports of module `name` that do not go down."""
    here = room(name)
    return sorted(
        other for other in imported(tree) if room(other) != here and ROW[room(other)] <= ROW[here]
    )


def test_every_room_has_its_row():
    assert {room(module(file)) for file in FILES} <= set(ROW)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_go_down(file):
    assert upwards(module(file), ast.parse(file.read_text())) == []


def test_an_import_that_does_not_go_down_is_seen():
    tree = ast.parse("def late():\n    from polyak.augment import Policy\nimport polyak.keys")
    assert upwards("polyak.optim.rules", tree) == ["polyak.augment.Policy"]  # sideways
    assert upwards("polyak.keys", tree) == ["polyak.augment.Policy"]  # up
    assert upwards("polyak.data.loader", tree) == []
    tree = ast.parse("from polyak import jobs")
    assert upwards("polyak.model", tree) == ["polyak.jobs"]


def test_no_two_modules_need_each_other():
    names = {module(file): file for file in FILES}
    graph = {}
    for name, file in names.items():
        wanted = imported(ast.parse(file.read_text()))
        # what is imported is a module, or a name that its parent holds
        held = {other if other in names else other.rpartition(".")[0] for other in wanted}
        graph[name] = held - {name, "polyak"}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_the_rules_import_nothing():
    file = SOURCE / "optim" / "rules.py"
    tree = ast.parse(file.read_text())
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]


def test_nothing_is_imported_by_star():
    starred = [file for file in FILES if " import *" in file.read_text()]
    assert starred == []


@pytest.mark.parametrize("name", ["polyak", "polyak.cli"])
def test_torch_comes_late(name):
    if not any(module(file) == name for file in FILES):
        pytest.fail(f"{name} is missing")
    heavy = "{'torch', 'timm', 'numba', 'sklearn', 'matplotlib', 'plotly'}"
    code = f"import sys, {name}; print(sorted({heavy} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.stdout.strip(), child.stderr) == ("[]", "")


def lines(node: ast.AST) -> int:
    """Count the lines of a function's body, its docstring left out."""
    body = node.body
    if ast.get_docstring(node) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_files_and_functions_stay_small(file):
    text = file.read_text()
    count = len(text.splitlines())
    assert count <= 350
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {f.name: lines(f) for f in functions if lines(f) >= 45} == {}


def test_the_median_file_is_small():
    counts = [len(file.read_text().splitlines()) for file in FILES]
    assert statistics.median(n for n in counts if n > 5) <= 150


def test_line_counts_are_counted():
    tree = ast.parse('def f():\n    """Say."""\n    a = 1\n\n    return (\n        a\n    )\n')
    assert lines(tree.body[0]) == 5


@pytest.mark.parametrize("name", ["Makefile", ".ci/run", *(s.name for s in SCRIPTS)])
def test_scripts_are_short_and_run(name):
    file = next(root / name for root in (HOUSE, HOUSE / "scripts") if (root / name).is_file())
    assert 4 <= len(file.read_text().splitlines()) <= 15
    assert name == "Makefile" or os.access(file, os.X_OK)


# what only the kind of target knows; chapters and numerics below have formulas of their own
KNOWS = {"cross_entropy", "argmax", "softmax", "log_softmax", "fit_temperature", "accuracy_and_nll"}
ASKS = (
    "training",
    "selection",
    "planning",
    "model",
    "report",
    "export",
    "jobs",
    "race",
    "inference",
)


@pytest.mark.parametrize("room", ASKS)
def test_only_the_kind_of_target_knows_losses_and_decisions(room):
    for file in FILES:
        parts = file.relative_to(SOURCE).with_suffix("").parts
        if parts[0] == room:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            named = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            named |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            assert not named & KNOWS, file.name


def test_only_sources_of_data_open_an_images_file():
    """`data/sources` reads them; elsewhere a source is asked for its bytes."""
    for file in FILES:
        name = module(file)
        if not name.startswith("polyak.data.sources"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            imported = {n.name for n in ast.walk(tree) if isinstance(n, ast.alias)}
            assert "read_file" not in imported, name
            if room(name) in ("data", "decoding", "inference", "training", "planning", "jobs"):
                called = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
                assert not called & {"read_bytes", "open_binary"}, name
