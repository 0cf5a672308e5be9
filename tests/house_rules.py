"""What the rules of the house find in src/polyak, and the lists of what is known and to be mended.

Usage: python tests/house_rules.py writes tests/gates/*.txt anew. A list may only become shorter:
one that would be longer is left as it is, its new lines are printed, and the exit code is 1.
"""

import ast
import sys
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import who_tests

HOUSE = Path(__file__).parent.parent
SOURCE = HOUSE / "src" / "polyak"
TESTS = HOUSE / "tests"
LISTS = TESTS / "gates"
MOST_PARAMETERS, MOST_RESULTS = 6, 3
COMPILED = {
    "njit",
    "jit",
    "entry",
    "intrinsic",
}  # decorators of numerical kernels, which take plain numbers
RULES = "optim.rules"  # the lecture's letters, on numbers, arrays and tensors alike
LIKE_TORCH = {"optim.optimizers", "data.loader"}  # whose constructors take what torch's take
# numbers and arrays go in, arrays come out
NUMERICAL = {
    "transfer.logistic.solve",
    "augment.policy.Policy.plan",
    "augment.transform.Plans.plan",
}

# the words of before and those of the field, which stand for them; in any place where one is named
OLD = {
    "alike": "near_duplicates",
    "Arm": "Trial",
    "Ballot": "CandidatePool",
    "begun": "created",
    "calm": "member_temperature",
    "cook": "build",
    "doubt": "variance",
    "elect": "select",
    "Found": "PlanResult",
    "hope": "prior_mean",
    "how": "parameters, or the Session",
    "judge": "validator",
    "Judge": "Validator",
    "Known": "ProbeResults",
    "Look": "input_spec",
    "looks": "views, epochs",
    "Memory": "FrozenFeatureCache",
    "page": "preprocessing, console, config",
    "Pot": "SoupBuilder",
    "pull": "l2_sp",
    "said": "log_probs, or what it is",
    "sleeps": "frozen",
    "taken_up": "resumed",
    "taste": "evaluate",
    "told": "reported",
    "upset": "vflip",
    "wakes": "unfreeze_at",
}
# plain English inside a function, but no name for what others meet
OLD_OUTSIDE = {
    "better": "best",
    "go": "run",
    "least": "min_size",
    "logs": "log_probs",
    "opening": "StartEvent",
    "rest": "set_eval",
    "room": "cache_bytes",
    "stand": "eligible",
    "stands": "eligible",
    "where": "device, machine",
}
OLD_MODULES = {  # rooms have taken their place
    *("choice", "conduct", "decide", "finish", "job", "known", "pick", "words"),
}
MEANT = {  # room or module: words that mean there what everybody means by them
    "report": {"page"},  # of HTML
    "race": {"page", "where"},
    "errors": {"where"},  # part of every message
    "optim.mismatch": {"where"},  # an error too
    "augment.policy": {"where"},
    "regularize.insert": {"where"},  # in a network
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A source file: its name below polyak ("optim.rules"), and its tree."""

    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The chapter that it lies in, or its own name."""
        return self.name.split(".")[0]


class Place(NamedTuple):
    """A function: its name in its module ("Adam.step"), and where it stands."""

    name: str
    node: Function
    public: bool
    method: bool
    nested: bool

    @property
    def compiled(self) -> bool:
        """Whether Numba compiles it."""
        return any(_last(one) in COMPILED for one in self.node.decorator_list)


@cache
def modules(source: Path = SOURCE) -> tuple[Module, ...]:
    """Read all source files."""
    found = []
    for file in sorted(source.rglob("*.py")):
        name = ".".join(file.relative_to(source).with_suffix("").parts)
        found.append(Module(name, ast.parse(file.read_text(encoding="utf-8"))))
    return tuple(found)


def functions(
    tree: ast.AST, prefix: str = "", public: bool = True, nested: bool = False
) -> Iterator[Place]:
    """List all functions of a tree; those within functions are nested, and never public."""
    within = isinstance(tree, ast.ClassDef)
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            method = within and "staticmethod" not in [_last(n) for n in node.decorator_list]
            seen = public and (not node.name.startswith("_") or node.name.startswith("__"))
            yield Place(f"{prefix}{node.name}", node, seen, method, nested)
            yield from functions(node, f"{prefix}{node.name}.", False, True)
        elif isinstance(node, ast.ClassDef):
            seen = public and not node.name.startswith("_")
            yield from functions(node, f"{prefix}{node.name}.", seen, nested)
        else:
            yield from functions(node, prefix, public, nested)


def parameters(place: Place) -> list[ast.arg]:
    """List what a function takes, without self."""
    taken = place.node.args
    rest = [one for one in (taken.vararg, taken.kwarg) if one is not None]
    return [*taken.posonlyargs, *taken.args][place.method :] + taken.kwonlyargs + rest


def many_parameters(module: Module) -> Iterator[str]:
    """Find functions that take more than six things."""
    if module.name == RULES:
        return
    for place in functions(module.tree):
        number = len(parameters(place))
        exempt = module.name in LIKE_TORCH and place.name.endswith(".__init__")
        exempt |= f"{module.name}.{place.name}" in NUMERICAL
        if number > MOST_PARAMETERS and not place.compiled and not exempt:
            yield f"{module.name}.{place.name} {number}"


def many_results(module: Module) -> Iterator[str]:
    """Find functions that give more than three things without a name for each."""
    if module.name == RULES:
        return
    for place in functions(module.tree):
        numbers = [0]
        for node in ast.walk(place.node.returns) if place.node.returns else ():
            if isinstance(node, ast.Subscript) and _last(node.value) in ("tuple", "Tuple"):
                inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                numbers.append(len(inner))
        for node in _own(place.node):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                numbers.append(len(node.value.elts))
        if max(numbers) > MOST_RESULTS and not place.compiled:
            yield f"{module.name}.{place.name} {max(numbers)}"


def untyped(module: Module) -> Iterator[str]:
    """Find public functions of which a parameter or the result has no type."""
    if module.name == RULES:
        return
    for place in functions(module.tree):
        if place.public and not place.compiled:
            lacking = any(one.annotation is None for one in parameters(place))
            ends = place.node.returns is None and not place.name.endswith("__init__")
            if lacking or ends:
                yield f"{module.name}.{place.name}"


def old_words(module: Module) -> Iterator[str]:
    """Find names of the old vocabulary that a module gives, once each; not those that it calls."""
    meant = MEANT.get(module.room, set()) | MEANT.get(module.name, set())
    outside, inside = set(_outside(module.tree)), set(_inside(module.tree))
    names = set(module.name.split("."))
    old = (outside | inside | names) & OLD.keys()
    old |= outside & OLD_OUTSIDE.keys() | names & OLD_MODULES
    yield from (f"{module.name}: {word}" for word in sorted(old - meant))


def _inside(tree: ast.AST) -> Iterator[str]:
    """List the names that are given to values, functions and modules, for a few lines or longer."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, Function):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def _outside(tree: ast.AST) -> Iterator[str]:
    """List the names that others meet: functions, classes, parameters, fields, attributes."""
    for place in functions(tree):
        if not place.nested:
            yield place.name.split(".")[-1]
            yield from (one.arg for one in parameters(place))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef | ast.Module):
            for one in node.body:
                targets = one.targets if isinstance(one, ast.Assign) else []
                targets = [one.target] if isinstance(one, ast.AnnAssign) else targets
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _own(function: Function) -> Iterator[ast.AST]:
    """Walk a function without the functions in it."""
    waiting = deque(function.body)
    while waiting:
        node = waiting.popleft()
        yield node
        if not isinstance(node, Function | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def _last(node: ast.AST) -> str:
    """Give the last name of a dotted one, or of what is called: numba.njit(...) is njit."""
    if isinstance(node, ast.Call):
        return _last(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


GATES = {
    "parameters": many_parameters,
    "results": many_results,
    "untyped": untyped,
    "old_words": old_words,
}


@cache
def found(gate: str) -> tuple[str, ...]:
    """List what a gate finds today, in order."""
    return tuple(sorted({line for module in modules() for line in GATES[gate](module)}))


def listed(gate: str) -> list[str]:
    """List what is known, and allowed until it is mended."""
    file = LISTS / f"{gate}.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def main() -> int:
    """Write every list anew that has not become longer; print the others' new lines."""
    code = 0
    for gate in GATES:
        new, old = found(gate), listed(gate)
        if len(new) > len(old) and (LISTS / f"{gate}.txt").exists():
            code = 1
            print(f"{gate}: {len(old)} -> {len(new)}, longer, and left as it was; new:")
            print("".join(f"  {line}\n" for line in new if line not in old), end="")
            continue
        (LISTS / f"{gate}.txt").write_text("".join(f"{line}\n" for line in new), encoding="utf-8")
        print(f"{gate}: {len(old)} -> {len(new)}")
    reasons = who_tests.renewed()
    text = "".join(f"{module}: {file}\n" for module, file in reasons.items())
    who_tests.REASONS.write_text(text, encoding="utf-8")
    if lacking := sorted(set(who_tests.wanting()) - set(reasons)):
        code = 1
        print(f"reached by no test: {', '.join(lacking)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
