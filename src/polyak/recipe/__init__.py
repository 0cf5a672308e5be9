"""What a run shall do: as it was asked, and as it was resolved for some data."""

from polyak.recipe.recipe import Recipe, make

__all__ = ["Recipe", "make"]
