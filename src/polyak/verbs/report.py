"""`polyak report`: a run, or several, as one page to open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyak.options import File, parse


@dataclass
class Options:
    """Draw the page of a run anew from its directory, or set several runs side by side.

    Examples: polyak report runs/photos
              polyak report runs/photos runs/photos-2 --out compared.html
              polyak report runs/photos --language ko
    """

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """run directories"""
    out: File = None
    """of a comparison; default compared.html"""
    language: Literal["en", "ko"] = "en"
    """of the fixed texts"""


def run(arguments: list[str]) -> int:
    """Write the page and say where it is."""
    options = parse(Options, arguments, "polyak report")
    from polyak.errors import UsageError, shown
    from polyak.report import compare, report

    if len(options.runs) == 1:
        if options.out is not None:
            raise UsageError("the page of a run lies in its directory", where="--out")
        page = report(options.runs[0], options.language)
    elif options.runs:
        out = options.out or Path("compared.html")
        page = compare(list(options.runs), out, options.language)
    else:
        raise UsageError("no run to report on", then="polyak report runs/NAME")
    print(shown(page))
    return 0
