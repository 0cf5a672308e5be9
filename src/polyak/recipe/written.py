"""A recipe on disk: what was asked, and all of it as YAML that reads back to itself."""

from pathlib import Path
from typing import Any

import yaml

from polyak.files import read_yaml
from polyak.recipe.recipe import Recipe


def asked(recipe: Recipe) -> dict[str, Any]:
    """Keep what the user chose: all that differs from the defaults, as JSON.

    >>> asked(Recipe(data="digits", epochs=2))
    {'data': 'digits', 'epochs': 2.0}
    """
    return recipe.model_dump(mode="json", exclude_defaults=True)


def read(path: Path) -> dict[str, Any]:
    """Read the choices of an earlier run's config.yaml; nothing in the file is executed.

    Raises:
        UsageError: no file, too large, not YAML, or not a page of options.
    """
    return read_yaml(path)


def write(recipe: Recipe, reasons: dict[str, str]) -> str:
    """Print a recipe as YAML that reads back to itself, each decided value with its reason.

    >>> page = write(Recipe(data="digits", epochs=2), {"epochs": "asked"})
    >>> [line for line in page.splitlines() if line.startswith("epochs")]
    ['epochs: 2.0  # asked']
    """
    lines = []
    for name, value in recipe.model_dump().items():
        line = yaml.safe_dump({name: value}, allow_unicode=True, width=10**9).strip()
        reason = reasons.get(name, "").replace("\n", " ")
        lines.append(f"{line}  # {reason}" if reason and "\n" not in line else line)
    return "\n".join(lines) + "\n"
