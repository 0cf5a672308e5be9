"""Train a classifier: `for record in train(recipe)`; everything else is a reader of records."""

import time
from collections.abc import Iterator

from polyak.errors import memory_error
from polyak.train.recipe import Recipe, make

__all__ = ["Recipe", "make", "train"]


def train(recipe: Recipe, *, resume: bool = False, began: float | None = None) -> Iterator[dict]:
    """Train by a recipe and tell of it, record by record.

    Args:
        recipe: what to do; what it leaves open is decided from data and machine.
        resume: continue the run that these choices began; begin it where there is none.
        began: `time.monotonic()` when the command began, for the budget.

    Yields:
        Records as dicts with a "kind": "start", "step", "validation", "end".

    Raises:
        PolyakError: any of them; what was done is kept, and its text says where.

    >>> import tempfile
    >>> recipe = make(data="digits", epochs=1, out=tempfile.mkdtemp())
    >>> [record["kind"] for record in train(recipe)][-1]
    'end'
    """
    from polyak.train.conduct import conduct

    try:
        yield from conduct(recipe, resume, time.monotonic() if began is None else began)
    except Exception as error:
        told = memory_error(error)
        if told is error:
            raise
        raise told from error
