"""From a rule to the function of one weight that a compiled loop calls.

What a rule computes from hyperparameters alone (`1 - beta1**t`) is the same for every weight: it is
lifted out, so that it is computed once a step, in double precision. The literals that remain become
single precision with the weights, because Numba computes in double as soon as one `1` or Python
float meets a float32 (three times slower).
"""

import ast
import inspect
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Signature:
    """What a rule's signature says: the names of its state and its hyperparameters with their
    defaults.
    """

    state: tuple[str, ...]
    hyper: dict[str, object]


@dataclass(frozen=True)
class Translated:
    """A rule as `element(x, dx, *state, constants)`, and how the constants come from
    hyperparameters.
    """

    element: Callable[..., Any]
    lifted: CodeType

    def constants(self, hyper: dict[str, Any]) -> tuple[Any, ...]:
        """Compute in double what the hyperparameters alone decide.

        >>> from polyak.optim.rules import momentum
        >>> translate(momentum, None).constants({"learning_rate": 0.1, "rho": 0.9})
        (0.9, 0.1)
        """
        # compiled from the rule's own source, so nothing foreign is evaluated
        return eval(self.lifted, {"__builtins__": {}}, hyper)


@cache
def signature(rule: Callable) -> Signature:
    """Read a rule's signature: between `dx` and `learning_rate`, or the first default, stands the
    state.

    >>> from polyak.optim.rules import adam
    >>> signature(adam).state
    ('first_moment', 'second_moment')
    >>> list(signature(adam).hyper)
    ['learning_rate', 't', 'beta1', 'beta2', 'eps']
    """
    parameters = list(inspect.signature(rule).parameters.values())[2:]
    split = 0
    while split < len(parameters) and not _is_hyper(parameters[split]):
        split += 1
    hyper = {p.name: p.default for p in parameters[split:]}
    return Signature(tuple(p.name for p in parameters[:split]), hyper)


def _is_hyper(parameter: inspect.Parameter) -> bool:
    return parameter.name == "learning_rate" or parameter.default is not inspect.Parameter.empty


class _Lift(ast.NodeTransformer):
    """Replace what depends on hyperparameters alone by `constants[k]`, other literals by names of
    their value.
    """

    def __init__(self, hyper, precision):
        self.hyper, self.precision = hyper, precision
        self.lifted: list[str] = []
        self.literals: dict[str, object] = {}

    def visit(self, node):
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Name) and self._alone(node):
            text = ast.unparse(node)
            if text not in self.lifted:
                self.lifted.append(text)
            place = ast.Constant(self.lifted.index(text))
            return ast.Subscript(ast.Name("constants", ast.Load()), place, ast.Load())
        return super().visit(node)

    def visit_BinOp(self, node):
        root = (
            isinstance(node.op, ast.Pow)
            and isinstance(node.right, ast.Constant)
            and node.right.value == 0.5
        )
        if self.precision and root:  # a square root is one instruction, a power is a call
            return ast.Call(ast.Name("_sqrt", ast.Load()), [self.visit(node.left)], [])
        return self.generic_visit(node)

    def visit_Constant(self, node):
        if (
            self.precision is None
            or isinstance(node.value, bool)
            or not isinstance(node.value, int | float)
        ):
            return node
        name = f"_literal{len(self.literals)}"
        self.literals[name] = self.precision(node.value)
        return ast.Name(name, ast.Load())

    def _alone(self, node):
        inner = list(ast.walk(node))
        names = {n.id for n in inner if isinstance(n, ast.Name)}
        plain = (
            ast.BinOp
            | ast.UnaryOp
            | ast.Name
            | ast.Constant
            | ast.operator
            | ast.unaryop
            | ast.Load
        )
        return bool(names) and names <= self.hyper and all(isinstance(n, plain) for n in inner)


@cache
def translate(rule: Callable, precision: type | None) -> Translated:
    """Rewrite a rule as a function of one weight.

    Args:
        rule: a rule of `polyak.optim.rules`, or one of the same shape.
        precision: np.float32 or np.float64, the type of the literals; None leaves the text to
            tensors.

    Raises:
        ValueError: the rule's source cannot be read, or the rule assigns to one of its
            hyperparameters.

    >>> from polyak.optim.rules import momentum
    >>> translate(momentum, None).element(1.0, 0.5, 1.0, (0.5, 0.5))
    (0.5, 1.0)
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(rule)))
    except (OSError, TypeError, SyntaxError) as error:
        raise ValueError(f"the source of {rule!r} cannot be read") from error
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef):
        raise ValueError(f"{rule!r} is not written with def")
    names = signature(rule)
    stored = {
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    if stored & set(names.hyper):
        raise ValueError(
            f"{rule.__name__} assigns to its hyperparameter {min(stored & set(names.hyper))}"
        )
    lift = _Lift(set(names.hyper), precision)
    first_two = [a.arg for a in function.args.args[:2]]
    arguments = [ast.arg(a) for a in (*first_two, *names.state, "constants")]
    function.args = ast.arguments([], arguments, None, [], [], None, [])
    function.decorator_list, function.returns = [], None
    body: list[Any] = [lift.visit(statement) for statement in function.body]
    function.body = body
    space = {**rule.__globals__, **lift.literals, "_sqrt": math.sqrt}
    exec(
        compile(ast.fix_missing_locations(tree), f"<{rule.__name__} of one weight>", "exec"), space
    )
    lifted = compile(
        "".join(["(", *(f"{text}, " for text in lift.lifted), ")"]), "<lifted>", "eval"
    )
    return Translated(space[rule.__name__], lifted)


SINGLE, DOUBLE = np.float32, np.float64
