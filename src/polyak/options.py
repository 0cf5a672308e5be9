"""Options of the command line, read from the types that the rest of polyak uses anyway."""

import io
import re
import sys
from contextlib import redirect_stderr
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from pydantic import BaseModel, Field, create_model

from polyak.decoding.unreadable import PIXEL_CAP
from polyak.errors import UsageError, nearest
from polyak.recipe import recipe as recipes
from polyak.recipe.names import OTHER_NAMES, RENAMED
from polyak.recipe.written import read

MISTAKE = 2  # what tyro leaves with
TRAIN = """Train a classifier on a folder of images, a CSV, or 'digits'.

Examples: polyak train digits
          polyak train photos --budget 10m
          polyak train --resume"""


def option(metavar: str) -> Any:
    """Describe an option to tyro: what it takes, and its default where there is one to tell."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=_default)


def _default(text: str) -> str:
    return "" if text in ("None", "", "''") else f"(default: {text})"


# options of the verbs; those of `polyak train` are made from the recipe
Word = Annotated[str, option("TEXT")]
Text = Annotated[str | None, option("TEXT")]
File = Annotated[Path | None, option("FILE")]
Number = Annotated[int | None, option("INT")]
Real = Annotated[float | None, option("FLOAT")]
Split = Annotated[Literal["train", "val", "test"] | None, option("{train,val,test}")]


def parse(kind: Any, arguments: list[str], prog: str) -> Any:
    """Read arguments into a dataclass or pydantic model, or print help and leave.

    Raises:
        SystemExit: 0, after help.
        UsageError: a mistake.
    """
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            return tyro.cli(kind, args=arguments, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if stop.code != MISTAKE:
            raise
        unknown = _unknown(kind, arguments, prog)
        raise unknown or UsageError(_line(printed.getvalue()), then=f"{prog} --help") from None


def pixels(text: str | None, model: str = "") -> int:
    """Read --max-pixels; where it was not given, as the run in the directory `model` had it.

    Raises:
        UsageError: it is no number of pixels.

    >>> pixels("120M"), pixels(None)
    (120000000, 64000000)
    """
    if text is not None:
        return recipes.make(max_pixels=text).pixel_cap
    try:
        config = read(Path(model) / "config.yaml")
        return recipes.make(max_pixels=config.get("max_pixels", PIXEL_CAP)).pixel_cap
    except UsageError:  # no run, or its page is damaged; the model is not
        return PIXEL_CAP


def taken(kind: Any) -> dict[str, tuple[Any, bool]]:
    """List what a command takes: name -> (type, whether it stands without its name)."""
    if issubclass(kind, BaseModel):
        found = {n: (f.annotation, f.metadata) for n, f in kind.model_fields.items()}
    else:
        hints = get_type_hints(kind, include_extras=True)
        found = {n: (_bare(hint), getattr(hint, "__metadata__", ())) for n, hint in hints.items()}
    return {
        name: (hint, tyro.conf.Positional in markers) for name, (hint, markers) in found.items()
    }


def _unknown(kind: Any, arguments: list[str], prog: str) -> UsageError | None:
    """Find the first option that does not exist, and the one that it was meant to be."""
    known = [name for name, (_, alone) in taken(kind).items() if not alone]
    for word in arguments:
        typed = word.partition("=")[0]
        if typed.startswith("--") and typed[2:].replace("-", "_") not in (*known, "help"):
            near = nearest(typed[2:], known, OTHER_NAMES)
            then = f"did you mean {flag(near)}?" if near else f"{prog} --help"
            return UsageError("no such option", where=typed, then=then)
    return None


def flag(name: str) -> str:
    """Write a choice's name as people type it.

    >>> flag("batch_size")
    '--batch-size'
    """
    return f"--{name.replace('_', '-')}"


def _line(box: str) -> str:
    r"""Make one line of the box that tyro draws around a mistake: its title and its rules go.

    >>> _line("╭─ Invalid choice ─╮\n│ no 'adm'.        │\n│ ──── │\n│ For full helptext, run")
    "no 'adm'"
    """
    plain = re.sub(r"\x1b\[[\d;]*m|[╭╮╰╯│─]", "", box)
    _, *rows = [row.strip() for row in plain.splitlines() if row.strip(" -")] or [""]
    printed = " ".join(rows).split("For full helptext")[0]
    printed = re.sub(r"Argument helptext: (\S+ \S+).*", r"Write \1", printed)
    return printed.strip(" .")


def training(arguments: list[str]) -> tuple[recipes.Recipe, bool]:
    """Read the arguments of `polyak train`, on top of the recipe that --config names.

    Returns:
        (recipe, whether to resume).

    Raises:
        UsageError: an impossible or unknown choice.
    """
    arguments, dotted = _dotted(renamed(arguments, RENAMED))
    chosen = parse(trainer(recipes.make()), arguments, "polyak train")
    if chosen.config is not None:
        base = recipes.make(**read(chosen.config))
        chosen = parse(trainer(base), arguments, "polyak train")
    choices = chosen.model_dump(exclude={"resume", "config"})
    return recipes.make(**choices, **dotted), chosen.resume


def renamed(arguments: list[str], names: dict[str, str]) -> list[str]:
    """Call options what they are called today, and say so: old names go with the next version.

    >>> renamed(["--seed", "1"], {"looks": "epochs"})
    ['--seed', '1']
    """
    found = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        today = names.get(name[2:].replace("-", "_"))
        if name.startswith("--") and today:
            note = f"polyak: note: {name} is called {flag(today)} now; the old name goes with 0.3"
            sys.stderr.write(f"{note}\n")
            argument = f"{flag(today)}{equals}{value}"
        found.append(argument)
    return found


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


def trainer(base: recipes.Recipe) -> type[BaseModel]:
    """Make the options of `polyak train`: a recipe's choices, with another one's as defaults."""
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
        return Annotated[hint, tyro.conf.Positional, option(name.upper())]
    if plain(hint) is bool:  # a flag, but for one that may be left open
        return hint if hint is bool else Annotated[hint, option("{True,False}")]
    return Annotated[hint, option(_metavar(hint))]


def _metavar(hint: Any) -> str:
    """Name what an option takes, without tyro's {None}|."""
    hint = plain(hint)
    if get_origin(hint) is Literal:
        words = [str(word) for word in get_args(hint)]
        return "{" + ",".join(words) + "}" if len(words) > 1 else words[0]
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        each = _metavar(parts[0])
        return f"{each} [{each} ...]" if Ellipsis in parts else " ".join(map(_metavar, parts))
    if get_origin(hint) in (Union, UnionType):
        return "|".join(_metavar(part) for part in get_args(hint) if part is not type(None))
    return {str: "TEXT", Path: "FILE", int: "INT", float: "FLOAT"}[hint]


def plain(hint: Any) -> Any:
    """Take a type out of Annotated and of `| None`.

    >>> plain(Annotated[int | None, "pixels"])
    <class 'int'>
    """
    hint = _bare(hint)
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not type(None)]
        hint = _bare(parts[0]) if len(parts) == 1 else hint
    return hint


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint
