"""The command `polyak`: verbs, options, exit codes, and one line for every error.

What a verb needs is imported when it runs, so that help and mistakes answer at once.
"""

import difflib
import json
import os
import sys
import tempfile
import time
import traceback
from typing import TYPE_CHECKING

from polyak.errors import PolyakError, UsageError, shown

if TYPE_CHECKING:
    from polyak.model import Predictions
    from polyak.options import Doctor, Evaluate, Predict

HELP = """polyak: image classifiers by the book

  polyak train DATA            train a classifier on a folder of pictures
  polyak evaluate MODEL DATA   measure a model on pictures with labels
  polyak predict MODEL PATH... name the class of pictures
  polyak doctor [DATA]         tell machine, threads and precision; scan data without training

DATA is a folder with one folder of pictures a class (or train/ val/ test/ with those inside), a CSV
with the columns path,label[,split], or 'digits'. MODEL is a run directory or a model file.

  polyak VERB --help           all options of a verb
  polyak --version             the version

First steps:  polyak train digits
              polyak predict runs/digits PICTURE.png"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    began = time.monotonic()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(arguments, began)
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
        return _bug(error)


def _run(arguments: list[str], began: float) -> int:
    verb, rest = (arguments or ["--help"])[0], arguments[1:]
    if verb in ("--help", "-h", "help"):
        print(HELP)
        return 0
    if verb == "--version":
        from polyak import __version__

        print(__version__)
        return 0
    if verb == "train":
        return train(rest, began)
    verbs = {"evaluate": evaluate, "predict": predict, "doctor": doctor}
    if verb not in verbs:
        near = difflib.get_close_matches(verb, ["train", *verbs], 1)
        then = f"did you mean polyak {near[0]}?" if near else "polyak --help"
        raise UsageError("no such verb", where=verb, then=then)
    from polyak import options

    return verbs[verb](options.parse(getattr(options, verb.title()), rest, f"polyak {verb}"))


def train(arguments: list[str], began: float) -> int:
    """Train, show progress, print what came of it."""
    from polyak.options import training

    recipe, resume = training(arguments)
    if not recipe.data and not resume:
        raise UsageError("nothing to train on", then="polyak train FOLDER, or polyak train digits")
    from rich.console import Console

    from polyak import console
    from polyak.train import train as records

    # under torchrun every process runs this, and one of them speaks
    page = Console(quiet=os.environ.get("RANK", "0") != "0")
    console.follow(records(recipe, resume=resume, began=began), page)
    return 0


def evaluate(options: "Evaluate") -> int:
    """Print how good a model is on labelled pictures."""
    from polyak.model import load

    how = {"views": options.views} if options.views else {}
    model = load(options.model, device=options.device)
    found = model.evaluate(options.data, options.split, device=options.device, **how)
    if options.json:
        print(json.dumps(found.as_json()))
    else:
        print(f"accuracy {found.accuracy}, 95 % interval, {found.n} pictures")
        print(f"nll      {found.nll}\nece      {found.ece}")
    return 0


def predict(options: "Predict") -> int:
    """Print the classes of pictures."""
    from rich.console import Console

    from polyak import console
    from polyak.files import write_atomic
    from polyak.model import load

    how = {"views": options.views} if options.views else {}
    model = load(options.model, device=options.device)
    said = model.predict(list(options.paths), device=options.device, **how)
    for path, reason in said.unreadable:
        print(f"polyak: not predicted: {shown(path)}: {reason}", file=sys.stderr)
    form = options.format if options.format != "table" or options.out is None else "csv"
    if form == "table":
        Console().print(console.predictions(said, options.top))
    else:
        text = as_json(said, options.top) if form == "json" else as_csv(said, options.top)
        write_atomic(options.out, text) if options.out else print(text, end="")
    return 0


def as_csv(said: "Predictions", top: int) -> str:
    """Write predictions as CSV: path, classes and probabilities best first; spreadsheet-safe."""
    from polyak.data.table import table_text

    names = [f"{part}{i + 1}" for i in range(top) for part in ("class", "probability")]
    errors = dict(said.unreadable)
    rows = []
    for path, best in zip(said.paths, said.top(top), strict=True):
        cells = [word for name, p in best for word in (name, f"{p:.6f}")]
        cells += [""] * (len(names) - len(cells))
        rows.append([path, *cells, errors.get(path, "")])
    return table_text(["path", *names, "error"], rows)


def as_json(said: "Predictions", top: int) -> str:
    """Write predictions as JSON: [{"path", "classes": [{"class", "probability"}], "error"}]."""
    errors = dict(said.unreadable)
    rows = [
        {
            "path": path,
            "classes": [{"class": name, "probability": round(p, 6)} for name, p in best],
            "error": errors.get(path),
        }
        for path, best in zip(said.paths, said.top(top), strict=True)
    ]
    return json.dumps(rows, indent=1) + "\n"


def doctor(options: "Doctor") -> int:
    """Print what the machine is and what the data would be."""
    from polyak.doctor import doctor as examine

    for line in examine(options.data or None):
        print(line)
    return 0


def _bug(error: Exception) -> int:
    with tempfile.NamedTemporaryFile(
        "w", prefix="polyak-bug-", suffix=".txt", delete=False, errors="replace"
    ) as file:
        traceback.print_exception(error, file=file)
    what = shown(f"{type(error).__name__}: {error}"[:200])
    print(f"polyak: a bug in polyak: {what}. Its traceback: {file.name}", file=sys.stderr)
    return 70
