"""`polyak plan`: what each strategy of transfer would reach, without training in full."""

import math
import time
from collections.abc import Generator

from polyak.errors import UsageError
from polyak.jobs.command import Command
from polyak.jobs.open import open_session
from polyak.planning.probes import Backbone
from polyak.planning.result import PlanResult
from polyak.planning.strategy import Times, find_strategy
from polyak.recipe.recipe import Recipe
from polyak.rundir.events import Event, NoteEvent
from polyak.training.distributed import Process
from polyak.training.signals import Stop

USUAL = 300.0  # seconds


def plan(recipe: Recipe, began: float | None = None) -> Generator[Event, None, PlanResult]:
    """Measure what each strategy of transfer reaches on some data, within a budget.

    Args:
        recipe: data, model, weights; its budget is the planner's own.
        began: `time.monotonic()` when the command began.

    Raises:
        UsageError: no weights to start from.
    """
    if recipe.weights is None:
        raise _nothing("")
    began = time.monotonic() if began is None else began
    until = began + (recipe.budget_seconds or USUAL)
    whole = recipe.model_copy(update={"transfer": "auto", "budget": None})
    with Stop() as stop:
        session = open_session(Command(whole, Process(), stop, began))
        if session.resolved.weights is None:
            raise _nothing(session.resolved.reasons["weights"])
        for line in session.data.dataset.warnings:
            yield NoteEvent(line)
        times = Times(began, until, math.inf)
        found = yield from find_strategy(Backbone(session, session.network()), recipe, times)
        yield found.plan.event()
        return found.plan


def _nothing(why: str) -> UsageError:
    return UsageError("there is nothing to plan", why=why, then="name weights with --weights")
