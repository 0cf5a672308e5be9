"""DATA AUGMENTATION: sample a plan of numbers, render it with one resample and one colour map."""

from polyak.augment.mix import cutmix, mixup, soft
from polyak.augment.policy import Policy
from polyak.augment.render import decode_scale, render, render_batch
from polyak.augment.views import views

__all__ = ["Policy", "cutmix", "decode_scale", "mixup", "render", "render_batch", "soft", "views"]
