"""`polyak report`: a run, or several, as one page to open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyak.options import File, option, parse


@dataclass
class Options:
    """Draw the page of a run anew from its directory, or set several runs side by side.

    Examples: polyak report runs/photos
              polyak report runs/photos runs/photos-2 --out compared.html
              polyak report runs/photos --language ko
              polyak report runs/photos --plan plan.json
    """

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, option("RUN...")]
    """run directories; or the plan.json of a plan"""
    plan: File = None
    """a plan.json to show on the page of one run, and to keep in its directory"""
    out: File = None
    """of a comparison; default compared.html"""
    language: Literal["en", "ko"] = "en"
    """of the fixed texts"""


def run(arguments: list[str]) -> int:
    """Write the page and say where it is."""
    options = parse(Options, arguments, "polyak report")
    from polyak.errors import UsageError, shown
    from polyak.report import compare, draw_plan, report

    one = len(options.runs) == 1
    if not options.runs:
        raise UsageError("no run to report on", then="polyak report runs/NAME")
    if one and options.out is not None:
        raise UsageError("the page of a run lies in its directory", where="--out")
    if not one and options.plan is not None:
        raise UsageError("a plan belongs to one run", where="--plan")
    if one and options.runs[0].endswith(".json"):
        written = draw_plan(options.runs[0], options.language)
    elif one:
        written = report(options.runs[0], options.language, options.plan)
    else:
        written = compare(
            list(options.runs), options.out or Path("compared.html"), options.language
        )
    print(shown(written))
    return 0
