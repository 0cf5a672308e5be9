"""What 0.1 called `polyak.train`; `polyak.train(...)` is a function now, and this goes with 0.3."""

import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

HINT = "see docs/migrate.md: polyak.stream(data, ...) yields events, polyak.Recipe holds choices"


def _records(
    recipe: Any, *, resume: bool = False, began: float | None = None
) -> Iterator[dict[str, Any]]:
    from polyak.jobs import stream

    return (event.as_json() for event in stream(recipe, resume=resume, began=began))


class _Moved(ModuleType):
    """Stand for a package that became a function: both ways of 0.1 and 0.2 go on working."""

    def __call__(self, *data: Any, **choices: Any) -> Any:
        from polyak.api import train

        return train(*data, **choices)

    def __getattr__(self, name: str) -> Any:
        from polyak.recipe import recipe

        known = {"train": _records, "make": recipe.make, "Recipe": recipe.Recipe}
        if name not in known:
            raise AttributeError(f"polyak.train has no {name!r}: {HINT}")
        warnings.warn(f"polyak.train.{name} is of 0.1: {HINT}", FutureWarning, stacklevel=2)
        return known[name]


# a module's class may be set (Python's data model, "Customizing module attribute access")
sys.modules[__name__].__class__ = _Moved
