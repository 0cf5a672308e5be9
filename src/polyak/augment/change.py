"""A policy with some of its operations changed: what `--augment.rotate 15` means."""

import difflib
import inspect
from dataclasses import replace

from polyak.augment.chance import OPERATIONS
from polyak.augment.policy import RENAMED, Operation, Policy
from polyak.errors import UsageError


def changed(policy: Policy, name: str, value: str) -> Policy:
    """Change an operation wherever the policy has it, or add it at the end.

    Args:
        policy: what to start from.
        name: of an operation.
        value: its first parameter (`15`, `-0.1..0.2`), its probability if it has none, several
            as text (`scale=0.5..1, p=0.5`), or `off`.

    Raises:
        UsageError: no such operation or parameter, or a value beyond its limit.

    >>> str(changed(Policy.parse("flip | rotate(degrees=5, p=0.5)"), "rotate", "15"))
    'flip | rotate(degrees=15, p=0.5)'
    >>> str(changed(Policy.parse("flip | rotate(degrees=5)"), "flip", "off"))
    'rotate(degrees=5)'
    """
    name = RENAMED.get(name, name)
    if name not in OPERATIONS:
        near = difflib.get_close_matches(name, OPERATIONS, 1)
        then = (
            f"did you mean --augment.{near[0]}?" if near else f"choose of {', '.join(OPERATIONS)}"
        )
        raise UsageError("no such operation", where=f"--augment.{name}", then=then)
    found = [operation for operation in policy.operations if operation.name == name]
    if value.strip() == "off":
        return Policy(tuple(one for one in policy.operations if one not in found))
    given = _read(name, value)
    if not found:
        return Policy((*policy.operations, _with(Operation(name), given)))
    return Policy(tuple(_with(o, given) if o in found else o for o in policy.operations))


def _read(name, value):
    if set(value) & set("|()"):
        why = "it is 15, 5..15, or parameter=value, ..."
        raise UsageError("cannot read", where=f"--augment.{name} {value}", why=why)
    parameters = list(inspect.signature(OPERATIONS[name]).parameters)[3:]
    first = "p" if not parameters else parameters[0]
    text = value if "=" in value else f"{first}={value}"
    asked = {part.partition("=")[0].strip() for part in text.split(",")}
    for unknown in sorted(asked - {*parameters, "p", "on"}):
        near = difflib.get_close_matches(unknown, [*parameters, "p", "on"], 1, cutoff=0.5)
        then = f"did you mean {near[0]}?" if near else f"choose of {', '.join(parameters)}, p, on"
        raise UsageError("no such parameter", where=f"--augment.{name} {unknown}", then=then)
    return asked, Policy.parse(f"{name}({text})").operations[0]


def _with(operation, given):
    asked, new = given
    parameters = tuple((dict(operation.parameters) | dict(new.parameters)).items())
    p, on = (getattr(new if part in asked else operation, part) for part in ("p", "on"))
    return replace(operation, parameters=parameters, p=p, on=on)
