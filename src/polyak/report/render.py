"""Templates: every value from outside is escaped, and what is missing is an error."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from polyak.errors import shown
from polyak.report.translations import speaker


def render(template: str, language: str, **values: Any) -> str:
    """Fill a template."""
    pages = Environment(
        loader=PackageLoader("polyak.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= {"percent": percent, "shown": shown}
    words = speaker(language)
    return pages.get_template(template).render(t=words, language=language, **values)


def percent(value: float) -> str:
    """Write a share for people; a share of nothing is a hyphen.

    >>> percent(0.98765), percent(float("nan"))
    ('98.77 %', '-')
    """
    return "-" if value != value else f"{value:.2%}".replace("%", " %")
