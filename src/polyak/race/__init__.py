"""RACE: optimizers side by side, on surfaces that show why, and on the user's own images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from polyak.race.board import write as write_surfaces
from polyak.race.surfaces import SURFACES, Surface
from polyak.race.trails import RULES, Measured, measure, trail

if TYPE_CHECKING:
    from polyak.race.contest import Contest, Design

__all__ = [
    "RULES",
    "SURFACES",
    "Contest",
    "Design",
    "Measured",
    "Surface",
    "measure",
    "trail",
    "write_surfaces",
]


def __getattr__(name: str) -> Any:
    if name not in ("Contest", "Design"):  # which need torch
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("polyak.race.contest"), name)
