"""The command `polyak`: verbs, options, exit codes, and one line for every error.

What a verb needs is imported when it runs, so that help and mistakes answer at once.
"""

import difflib
import os
import sys
import tempfile
import traceback
import warnings
from importlib import import_module

from polyak.errors import PolyakError, UsageError, memory_error, shown
from polyak.verbs import VERBS

HELP = """polyak: image classifiers by the book

{verbs}

DATA is a folder with one folder of images a class (or train/ val/ test/ with those inside), a CSV
with the columns path,label[,split], or 'digits'. MODEL is a run directory or a model file.

  polyak VERB --help           all options of a verb
  polyak --completion SHELL    a script for the TAB key of bash, zsh or fish
  polyak --version             the version

First steps:  polyak train digits
              polyak predict runs/digits IMAGE.png"""


OWN = ("--help", "--version", "--completion")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "_ARGCOMPLETE" in os.environ:  # the shell asks, at a press of the TAB key
        import_module("polyak.verbs.completion").answer()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # told by file, in one line
            return _run(arguments)
    except PolyakError as error:
        print(f"polyak: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("polyak: stopped at once; what was saved before is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        known = memory_error(error)
        if isinstance(known, PolyakError):
            print(f"polyak: {known}", file=sys.stderr)
            return known.exit_code
        return _bug(error)


def _run(arguments: list[str]) -> int:
    verb, rest = (arguments or ["--help"])[0], arguments[1:]
    if verb in ("--help", "-h", "help"):
        print(HELP.format(verbs=_table()))
        return 0
    if verb == "--version":
        from polyak import __version__

        print(__version__)
        return 0
    if verb == "--completion":
        return import_module("polyak.verbs.completion").run(rest)
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, [*VERBS, *OWN], 1)
        then = f"did you mean polyak {near[0]}?" if near else "polyak --help"
        raise UsageError("no such verb", where=verb, then=then)
    return import_module(f"polyak.verbs.{verb}").run(rest)


def _table() -> str:
    lines = ((f"polyak {verb} {takes}", does) for verb, (takes, does) in VERBS.items())
    return "\n".join(f"  {command:<29}{does}" for command, does in lines)


def _bug(error: Exception) -> int:
    with tempfile.NamedTemporaryFile(
        "w", prefix="polyak-bug-", suffix=".txt", delete=False, errors="replace"
    ) as file:
        traceback.print_exception(error, file=file)
    what = shown(f"{type(error).__name__}: {error}"[:200])
    print(f"polyak: a bug in polyak: {what}. Its traceback: {file.name}", file=sys.stderr)
    return 70
