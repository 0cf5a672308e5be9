"""Options of the command line, read from the types that the rest of polyak uses anyway."""

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro
from pydantic import BaseModel, Field, create_model

from polyak.errors import UsageError
from polyak.train import recipe as recipes

USAGE = 64
TRAIN = """Train a classifier on a folder of pictures, a CSV, or 'digits'.

Examples: polyak train digits
          polyak train photos --budget 10m
          polyak train --resume"""


Text = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


def parse(kind: Any, arguments: list[str], prog: str) -> Any:
    """Read arguments into a dataclass or pydantic model; print help or what is wrong, and exit.

    Raises:
        SystemExit: 0 after help, 64 after a mistake.
    """
    try:
        return tyro.cli(kind, args=arguments, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        # tyro leaves with 2 after a mistake; scripts rely on ours
        raise SystemExit(USAGE if stop.code == 2 else stop.code) from None


def training(arguments: list[str]) -> tuple[recipes.Recipe, bool]:
    """Read the arguments of `polyak train`, on top of the recipe that --config names.

    Returns:
        (recipe, whether to resume).

    Raises:
        UsageError: an impossible or unknown choice.
    """
    arguments, dotted = _dotted(arguments)
    chosen = parse(_training(recipes.make()), arguments, "polyak train")
    if chosen.config is not None:
        base = recipes.make(**recipes.read(chosen.config))
        chosen = parse(_training(base), arguments, "polyak train")
    choices = chosen.model_dump(exclude={"resume", "config"})
    return recipes.make(**choices, **dotted), chosen.resume


def _dotted(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Take the options out that have a dot in their name: --augment.rotate 15."""
    rest, dotted, left = [], {}, iter(arguments)
    for argument in left:
        if not argument.startswith(f"--{recipes.DOTTED}"):
            rest.append(argument)
            continue
        name, equals, value = argument.removeprefix("--").partition("=")
        value = value if equals else next(left, None)
        if value is None:
            then = f"--{name} 15, or --{name} off"
            raise UsageError("no value", where=f"--{name}", then=then)
        dotted[name] = value
    return rest, dotted


def _training(base: recipes.Recipe) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, field in recipes.Recipe.model_fields.items():
        shape = _shape(name, field.annotation, name == "data")
        fields[name] = (shape, Field(getattr(base, name), description=field.description))
    resume = Field(False, description="continue the newest unfinished run, or the one of --name")
    config = Field(None, description="start from the config.yaml of an earlier run")
    file: Any = _shape("config", Path | None, False)
    return create_model(
        "Train", __doc__=TRAIN, resume=(bool, resume), config=(file, config), **fields
    )


def _shape(name: str, hint: Any, positional: bool) -> Any:
    if positional:
        return Annotated[hint, tyro.conf.Positional, tyro.conf.arg(metavar=name.upper())]
    if (metavar := _metavar(hint)) is None:
        return hint
    return Annotated[hint, tyro.conf.arg(metavar=metavar)]


def _metavar(hint: Any) -> str | None:
    """Name what an option takes, without tyro's {None}|."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (UnionType,):
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        return "{" + ",".join(get_args(hint)) + "}"
    if get_origin(hint) is tuple:
        each = _metavar(get_args(hint)[0])
        return f"{each} [{each} ...]"
    return {str: "TEXT", Path: "FILE", int: "INT", float: "FLOAT"}.get(hint)
