"""Which test file goes with a module of src/polyak: that of its name, or one that a reason names.

Reasons stand in tests/gates/tested_elsewhere.txt, `optim.norm: tests/optim/test_engine.py`, and are
checked: what that file imports, or what this imports in turn, has the module in it.
"""

import ast
from functools import cache
from pathlib import Path

from polyak.verbs import VERBS

HOUSE = Path(__file__).parent.parent
SOURCE = HOUSE / "src" / "polyak"
TESTS = HOUSE / "tests"
REASONS = TESTS / "gates" / "tested_elsewhere.txt"


@cache
def modules() -> dict[str, Path]:
    """Give all source files by name: "optim.rules", and "optim" for a room's first page."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def wanting() -> list[str]:
    """List the modules that have no test file of their name."""
    files = {name: file for name, file in modules().items() if not file.name.startswith("__")}
    own = {n: TESTS / f.relative_to(SOURCE).with_name(f"test_{f.name}") for n, f in files.items()}
    return [name for name in files if not own[name].exists()]


def reasons() -> dict[str, str]:
    """Read the reasons: module -> test file."""
    lines = REASONS.read_text(encoding="utf-8").splitlines() if REASONS.exists() else []
    return {line.split(": ")[0]: line.split(": ")[1] for line in lines}


@cache
def imports(file: Path) -> tuple[str, ...]:
    """List the modules that a file imports anywhere; what a first page hands on, by its home."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    inside = [name.removeprefix("polyak.") for name in found if name.startswith("polyak.")]
    return tuple(dict.fromkeys(home for name in inside if (home := _home(name))))


def _home(name: str) -> str:
    """Follow a name to the module that it is defined in, as far as first pages tell."""
    room = name.rpartition(".")[0]
    return name if name in modules() else _doors().get(name, room if room in modules() else "")


@cache
def _doors() -> dict[str, str]:
    """Give what first pages hand on: "optim.Adam" is at home in "optim.optimizers"."""
    found = {}
    for room, file in modules().items():
        if file.name == "__init__.py":
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ImportFrom):
                    home = str(node.module).removeprefix("polyak.")
                    found |= {f"{room}.{one.asname or one.name}": home for one in node.names}
    return {name: home for name, home in found.items() if home in modules()}


@cache
def reached(file: Path) -> dict[str, int]:
    """Give all modules that a test file reaches, and in how many imports."""
    text = file.read_text(encoding="utf-8")
    steps, border = {}, list(imports(file))
    border += [f"verbs.{verb}" for verb in VERBS if f'"{verb}"' in text]  # is typed
    border += ["verbs.train"] if "train(" in text else []
    for step in range(1, 99):
        border = [name for name in dict.fromkeys(border) if name not in steps]
        steps |= dict.fromkeys(border, step)
        border = [other for name in border for other in imports(modules()[name])]
        if not border:
            break
    return steps


def closest(module: str) -> str:
    """Find the test file of the same room that reaches a module in the fewest imports, else any."""
    room = module.split(".")[0]
    found = []
    for file in sorted(TESTS.rglob("test_*.py")):
        if module in reached(file):
            name = str(file.relative_to(HOUSE))
            strange = f"/{room}/" not in name and f"test_{room}.py" not in name
            found.append((strange, reached(file)[module], name))
    return min(found)[2] if found else ""


def renewed() -> dict[str, str]:
    """Give every module without its own test file a reason that holds, the known one if it does."""
    known = reasons()
    found = {}
    for module in wanting():
        said = known.get(module, "")
        holds = (HOUSE / said).is_file() and module in reached(HOUSE / said)
        if file := said if holds else closest(module):
            found[module] = file
    return found
