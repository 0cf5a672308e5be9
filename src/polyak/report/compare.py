"""Several runs in one table and one chart."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from polyak.errors import UsageError
from polyak.files import write_atomic
from polyak.report import charts
from polyak.report.gather import Facts, gather
from polyak.report.render import render
from polyak.report.translations import speaker


def compare(runs: list[str | Path], out: str | Path, language: str = "en") -> Path:
    """Write one page that sets the figures of several runs side by side.

    Args:
        runs: at least two run directories.
        out: the file to write.
        language: `en` or `ko`.

    Raises:
        UsageError: fewer than two runs, or no such language.
        RefusedError: one of them is no run directory.
        DiskError: the page cannot be written.

    >>> compare(["runs/one"], "page.html")
    Traceback (most recent call last):
    ...
    polyak.errors.UsageError: one run is nothing to compare. Next: polyak report RUN
    """
    if len(runs) < 2:
        raise UsageError("one run is nothing to compare", then="polyak report RUN")
    facts = [gather(Path(run)) for run in runs]
    done = [one for one in facts if one.end.get("evaluation")]
    text = render(
        "compare.html", language, facts=facts, chart=_chart(done, language),
        differing=differing(facts), apart=apart(done),
    )  # fmt: skip
    write_atomic(Path(out), text)
    return Path(out)


def differing(facts: list[Facts]) -> list[tuple[str, list[Any]]]:
    """List the choices that are not the same in all runs, with each run's value.

    >>> one, two = (Facts(Path("r"), {"epochs": e, "seed": 0}, "", {}, [], []) for e in (1, 2))
    >>> differing([one, two])
    [('epochs', [1, 2])]
    """
    names = dict.fromkeys(
        name for one in facts for name in one.config if name not in ("out", "name")
    )
    rows = [(name, [one.config.get(name) for one in facts]) for name in names]
    return [(name, values) for name, values in rows if any(v != values[0] for v in values)]


def apart(facts: list[Facts]) -> bool:
    """Tell whether the intervals of accuracy of the best and of some other run do not meet."""
    spans = [one.end["evaluation"]["accuracy"] for one in facts]
    if len(spans) < 2:
        return False
    best = max(spans, key=lambda span: span["value"])
    return any(span["high"] < best["low"] for span in spans)


def _chart(facts: list[Facts], language: str) -> str:
    if not facts:
        return ""
    spans = [one.end["evaluation"]["accuracy"] for one in facts]
    value, low, high = ([span[part] for span in spans] for part in ("value", "low", "high"))
    names, words = [one.path.name for one in facts], speaker(language)
    return Markup(charts.bars(names, value, low, high, words("accuracy")))
