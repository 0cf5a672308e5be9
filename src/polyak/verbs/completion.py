"""What the shell's TAB key is told: verbs, options, values, files, by argcomplete.

Everything comes from the very types that the command line is read with.
"""

import argparse
import ast
import inspect
import os
import textwrap
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import argcomplete
import tyro
from argcomplete.completers import FilesCompleter
from argcomplete.shell_integration import shellcode
from pydantic import BaseModel

from polyak.options import flag, option, parse, plain, taken
from polyak.verbs import VERBS

FILES = ("weights", "distill", "data", "out")  # texts that name files and folders


@dataclass
class Options:
    """Print a script that lets the TAB key of a shell ask polyak.

    Examples: polyak --completion bash > ~/.local/share/bash-completion/completions/polyak
              polyak --completion zsh > ~/.zfunc/_polyak
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional, option("SHELL")]
    """bash, zsh or fish"""


def run(arguments: list[str]) -> int:
    """Print the script."""
    options = parse(Options, arguments, "polyak --completion")
    print(shellcode(["polyak"], shell=options.shell))
    return 0


def answer() -> None:
    """Tell the shell that asks through the environment what may come next, and leave."""
    words = os.environ.get("COMP_LINE", "").split()
    argcomplete.autocomplete(parser(words[1] if len(words) > 1 else "", words[-1:]))


def parser(verb: str, last: list[str]) -> argparse.ArgumentParser:
    """Describe the command line in the words of argparse: all verbs, and the options of one.

    Args:
        verb: whose options are wanted; an unknown one has none.
        last: the word being typed; augmentation's operations are looked up for it alone.
    """
    whole = argparse.ArgumentParser("polyak")
    whole.add_argument("--version", action="store_true", help="the version")
    whole.add_argument("--completion", choices=get_args(plain(taken(Options)["shell"][0])))
    verbs = whole.add_subparsers()
    for name, (_, does) in VERBS.items():
        one = verbs.add_parser(name, help=does)
        if name == verb:
            kind = kind_of(verb)
            described = _descriptions(kind)
            for option, (hint, alone) in taken(kind).items():
                _add(one, option, hint, alone, described.get(option, ""))
        if name == verb == "train" and any(word.startswith("--augment.") for word in last):
            from polyak.augment.chance import OPERATIONS

            for operation in OPERATIONS:
                one.add_argument(f"--augment.{operation}", help="its parameter, or off")
    return whole


def kind_of(verb: str) -> Any:
    """Give the type that a verb's options are read into."""
    if verb == "train":
        from polyak.options import trainer
        from polyak.recipe import make

        return trainer(make())
    return import_module(f"polyak.verbs.{verb}").Options


def _descriptions(kind: Any) -> dict[str, str]:
    """Collect what is said of each option: a field's description, or the string below it."""
    if issubclass(kind, BaseModel):
        return {name: field.description or "" for name, field in kind.model_fields.items()}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    return {
        ast.unparse(field.target): ast.literal_eval(text.value)
        for field, text in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _add(to: argparse.ArgumentParser, name: str, hint: Any, alone: bool, described: str) -> None:
    hint, options = plain(hint), dict[str, Any](help=described.replace("%", "%%"))
    if hint is bool:
        to.add_argument(flag(name), action="store_true", **options)
        return
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        options["nargs"] = ("*" if alone else "+") if Ellipsis in parts else len(parts)
        hint = plain(parts[0])
    if get_origin(hint) is Literal:
        options["choices"] = get_args(hint)
    action: Any = to.add_argument(name if alone else flag(name), **options)
    if "choices" not in options:
        file = hint is Path or (hint is str and (alone or name in FILES))
        action.completer = FilesCompleter() if file else _nothing


def _nothing(**_: Any) -> tuple[str, ...]:
    """Offer nothing for a number, rather than files."""
    return ()
