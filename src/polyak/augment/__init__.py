"""DATA AUGMENTATION: sample a plan of numbers, render it with one resample and one colour map."""

from polyak.augment.policy import Policy
from polyak.augment.render import render, render_batch
from polyak.augment.views import views

__all__ = ["Policy", "render", "render_batch", "views"]
