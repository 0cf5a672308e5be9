"""What `--transfer auto` means: the better probe, or within a budget whatever its trials favour."""

import json
from collections.abc import Generator

from polyak.data.dataset import Dataset
from polyak.train import job, probing
from polyak.train.decide import decide
from polyak.train.distributed import World
from polyak.train.plan import Found, conclusion, measure, note
from polyak.train.probing import LINEAR, ONE, Backbone, Known
from polyak.train.recipe import Recipe

Data = tuple[Dataset, dict[str, job.Data]]
SHARE = 1 / 3  # of a budget, for finding out what to spend the rest on


def tries(recipe: Recipe, world: World) -> bool:
    """Tell whether a run begins with trials; several processes would have to agree on them.

    >>> from polyak.train import make
    >>> tries(make(weights="hub", budget="5m"), World()), tries(make(weights="hub"), World())
    (True, False)
    """
    return recipe.transfer == "auto" and recipe.budget is not None and world.size == 1


def begin(
    asked: Recipe,
    recipe: Recipe,
    reasons: dict[str, str],
    data: Data,
    backbone: Backbone,
    began: float,
    world: World,
) -> Generator[dict, None, tuple[Recipe, Known, dict[str, str], Data]]:
    """Fit the probes that a recipe asks for, and choose what it leaves open.

    Args:
        asked: the user's own choices.
        recipe: the same, decided but for `transfer`.
        reasons: of the decisions; the choice adds its own.
        data: all usable pictures, and their parts.
        backbone: with its starting weights.
        began: when the command began.
        world: this process among all.

    Returns:
        (the recipe without that open choice, what is known, more files of the run, the data).
    """
    if not tries(recipe, world):
        found = yield from probing.begin(recipe, reasons, data[1]["train"], backbone)
        return *found, {}, data
    data = dataset, parts = job.decoded(*data, recipe, backbone.where, world)
    # trials take whole runs at the usual rate; a range test waits for the network that is chosen
    rate = None if recipe.learning_rate == "auto" else recipe.learning_rate
    plain = recipe.model_copy(update={"budget": None, "learning_rate": rate})
    whole, _ = decide(plain, dataset)
    until = began + SHARE * (recipe.budget_seconds or 0.0)
    page: dict = {}
    known, found = yield from _noted(page, measure(whole, parts, backbone, began, until))
    end = conclusion(asked, whole, parts, found)
    note(page, end)
    choices, reasons["transfer"] = {"transfer": end["chosen"]}, f"planned: {end['why']}"
    if "views" in reasons and end["chosen"] in LINEAR:
        choices["views"], reasons["views"] = "one", ONE
    plan = {"plan.json": json.dumps(page, indent=1)}
    return recipe.model_copy(update=choices), known, plan, data


def _noted(
    page: dict, work: Generator[dict, None, tuple[Known, Found]]
) -> Generator[dict, None, tuple[Known, Found]]:
    """Pass records on, and add them to a page."""
    while True:
        try:
            record = next(work)
        except StopIteration as end:
            return end.value
        note(page, record)
        yield record
