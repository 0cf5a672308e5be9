"""RACE: optimizers side by side, on surfaces that show why, and on the user's own pictures."""

from polyak.race.board import write as write_surfaces
from polyak.race.surfaces import SURFACES, Surface
from polyak.race.trails import RULES, Measured, measure, trail

__all__ = ["RULES", "SURFACES", "Measured", "Surface", "measure", "trail", "write_surfaces"]
