"""What the user left open, resolved once from data and machine, each choice with its reason."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polyak.augment import Policy
from polyak.augment.views import policies
from polyak.data.dataset import Dataset
from polyak.errors import UsageError, counted
from polyak.model import Classifier, source
from polyak.networks import compact
from polyak.networks.build import fixed_size
from polyak.networks.foreign import model_of_file
from polyak.optim.schedules import BRANCHES, CYCLES
from polyak.recipe.rates import usual_rate
from polyak.recipe.recipe import USUAL, Recipe
from polyak.recipe.resolved import PROBES, Resolved
from polyak.recipe.weights import with_weights

RAMPED = (
    "cosine",
    "step",
    "exponential",
    "inverse",
    "wsd",
)  # begin at the peak, and on one slope only
CYCLIC = ("sgdr", "cyclic")
MUON_MOMENTUM = 0.95
SMALL = 64  # pixels: up to here `compact` is the better use of minutes
MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}  # of the papers, on ImageNet and on CIFAR
LARGEST_SCRATCH = 128  # pixels a side, from scratch: more costs minutes that few images repay
ONE_VIEW = "the view that the features are of"


def resolve(recipe: Recipe, dataset: Dataset, reasons: Mapping[str, str] | None = None) -> Resolved:
    """Give every open choice its value, once, after images that cannot be decoded were set aside.

    Args:
        recipe: what was asked; None and `auto` are open.
        dataset: images that can be used, split.
        reasons: of what was open and was decided before.

    Raises:
        UsageError: choices that contradict one another.

    >>> from polyak.data import find, scan, split
    >>> from polyak.recipe import make
    >>> one = resolve(make(data="digits", epochs=3), split(scan(find("digits"))))
    >>> one.model, one.optimizer, one.reasons["views"]
    ('compact', 'nesterov', 'a digit in the mirror is another digit')
    """
    recipe, reason = with_weights(recipe, dataset)
    reasons = dict(reasons or ({"weights": reason} if reason else {}))
    choices = _Choices(recipe, reasons)
    model = choices.choose("model", *model_of(recipe, dataset.sizes))
    trained = len(dataset.part("train"))
    _transfer(choices)
    earlier = source.earlier(recipe.weights)
    _widths(choices, earlier)
    if recipe.weights is None or (model == "compact" and not earlier):  # others know their size
        side = int(np.median(dataset.sizes.min(1)))
        own = model != "compact" and fixed_size(model) is not None
        reason = f"{model} takes no other" if own else f"median side is {side}"
        choices.choose("size", scratch_size(model, dataset.sizes), reason)
    _optimizer(choices, model, trained)
    _balance(choices, dataset)
    _images(choices, model)
    if recipe.budget is None:
        choices.choose("epochs", *usual_epochs(recipe, trained))
    if recipe.folds is not None and recipe.fold is None:
        probe = ends_as_probe(recipe)
        reason = "all images in a moment" if probe else "each image is predicted by all of them"
        choices.choose("final", "refit" if probe else "ensemble", reason)
    resolved = choices.resolved()
    return probe_views(resolved) if resolved.transfer in PROBES else resolved


def probe_views(resolved: Resolved) -> Resolved:
    """Let a probe see one view where the views were left open: the one that its features are of."""
    if "views" not in resolved.reasons:
        return resolved
    return resolved.decided(ONE_VIEW, views="one")


class _Choices:
    """Collect values and reasons for what a recipe leaves open."""

    def __init__(self, recipe: Recipe, reasons: dict[str, str]):
        self.recipe, self.values, self.reasons = recipe, recipe.model_dump(), reasons
        self.measured: set[str] = set()

    def choose(self, name: str, value: Any, reason: str) -> Any:
        """Give a choice a value and a reason where it is open; return what it is then."""
        if self.values[name] is None or self.values[name] == "auto":
            self.values[name], self.reasons[name] = value, reason
        return self.values[name]

    def measure(self, name: str, value: Any) -> None:
        """Give a choice a value to go on with until it is measured."""
        self.values[name] = value
        self.measured.add(name)

    def resolved(self) -> Resolved:
        return Resolved(**self.values, reasons=self.reasons, measured=frozenset(self.measured))


def _transfer(choices: _Choices) -> None:
    """Choose whether and how weights are tuned."""
    recipe = choices.recipe
    if (reason := training_reason(recipe)) is not None:
        # weights that are there are not thrown away with their head: training starts from a probe
        strategy = "none" if recipe.weights is None else "all"
        choices.choose("transfer", strategy, reason)
    if recipe.weights is not None:
        choices.choose("layer_decay", 0.7, "early stages are of use as they are")
        reason = "the probe that training starts from has read the source's"
        choices.choose("freeze_norms", True, reason)
    if choices.values["transfer"] == "auto":
        choices.measure("transfer", "linear")


def training_reason(recipe: Recipe) -> str | None:
    """Say why a recipe that leaves `transfer` open trains the whole network, if it does.

    Raises:
        UsageError: a strategy of transfer without weights to start from.
    """
    if recipe.weights is not None:
        for name in ("epochs", "ensemble", "distill"):
            if recipe.transfer == "auto" and getattr(recipe, name) is not None:
                return f"{name} asks for training"
        return None
    if recipe.transfer in ("auto", "none"):
        return "there are no weights to start from"
    raise UsageError(
        "there is nothing to transfer from",
        where=f"--transfer {recipe.transfer}",
        then="name weights with --weights",
    )


def begins_with_features(recipe: Recipe) -> bool:
    """Tell whether a run begins with one pass of features, for which no image need be kept.

    >>> from polyak.recipe import make
    >>> [begins_with_features(make(weights=weights)) for weights in ("hub", None)]
    [True, False]
    """
    return recipe.weights is not None and recipe.transfer != "none"


def ends_as_probe(recipe: Recipe) -> bool:
    """Tell whether nothing of a run is trained: a probe on features is the model itself.

    >>> from polyak.recipe import make
    >>> [ends_as_probe(make(weights="hub", **more)) for more in ({}, {"epochs": 1})]
    [True, False]
    """
    if not begins_with_features(recipe) or training_reason(recipe) is not None:
        return False
    # with a budget a plan may choose to train
    return recipe.transfer in PROBES or (recipe.transfer == "auto" and recipe.budget is None)


def _widths(choices: _Choices, earlier: Classifier | None) -> None:
    """Choose the widths of compact: those of the weights, which no wish can change."""
    recipe = choices.recipe
    if choices.values["model"] != "compact":
        return
    given = source.widths(recipe.weights, earlier)
    if given is not None:
        if recipe.widths not in (None, given):
            there, here = (" ".join(map(str, one)) for one in (given, recipe.widths))
            raise UsageError(
                "the weights have other widths",
                where=f"--widths {here}",
                why=f"{recipe.weights} has {there}",
                then="leave --widths away",
            )
        choices.choose("widths", given, f"those of {Path(str(recipe.weights)).name}")
    elif recipe.budget is None:
        choices.choose("widths", compact.REFERENCE, "measured on 45,000 images of 32 pixels")
    elif recipe.widths is None:  # they follow the speed that this machine shows
        choices.measure("widths", compact.REFERENCE)


def scratch_size(model: str, sizes: np.ndarray) -> int:
    """Give the side of the images that a network learns from scratch, pixels.

    Args:
        model: name of the network.
        sizes: int (n, 2), of the images.

    >>> names = "compact", "resnet18", "vit_tiny_patch16_224"
    >>> [scratch_size(name, np.array([[90, 99]])) for name in names]
    [64, 64, 224]
    """
    side = int(np.median(sizes.min(1)))
    if model == "compact":
        return int(np.clip(side, 8, 64))
    if (own := fixed_size(model)) is not None:
        return own
    return max(32, min(LARGEST_SCRATCH, side // 32 * 32))


def _optimizer(choices: _Choices, model: str, trained: int) -> None:
    small = model == "compact"
    usual = "measured with compact and nesterov on CIFAR-10" if small else "default for timm models"
    choices.choose("optimizer", "nesterov" if small else "adamw", usual)
    schedule = _schedule(choices, small, usual)
    choices.choose("warm_up", 0.05 if schedule in RAMPED else 0.0, f"customary with {schedule}")
    images = f"{counted(trained, 'image')} to train on"
    choices.choose("batch_size", usual_batch_size(trained, small), images)
    rate, reason = usual_rate(
        model, choices.values["optimizer"], choices.values["batch_size"],
        scratch=choices.recipe.weights is None,
    )  # fmt: skip
    if choices.values["learning_rate"] == "auto":  # waits for the network
        choices.measure("learning_rate", rate)
    choices.choose("learning_rate", rate, reason)
    if choices.values["optimizer"] == "muon":
        choices.choose("rho", MUON_MOMENTUM, "as Jordan et al. 2024")
    choices.choose("rho", compact.MOMENTUM if small else 0.9, usual)
    choices.choose("weight_decay", compact.WEIGHT_DECAY if small else 0.05, usual)
    choices.choose("label_smoothing", compact.LABEL_SMOOTHING if small else 0.1, usual)


def _schedule(choices: _Choices, small: bool, reason: str) -> str:
    snapshots, usual = choices.recipe.ensemble == "snapshots", "triangular" if small else "cosine"
    branches = choices.recipe.ensemble == "branches"
    if snapshots:
        usual, reason = "sgdr", "a snapshot is taken where the rate has fallen"
    if branches:
        usual, reason = "wsd", "a member is taken where the rate has fallen"
    schedule = choices.choose("schedule", usual, reason)
    if branches:
        if schedule != "wsd":
            where, then = f"--schedule {schedule}", "take --schedule wsd"
            raise UsageError("branches want a rate that stays, then falls", where=where, then=then)
        choices.choose("cycles", BRANCHES, "members of one run; each costs a fall of the rate")
    elif schedule == "wsd" and choices.recipe.cycles:
        where, then = "--cycles", "add --ensemble branches, or leave it away"
        raise UsageError("wsd alone falls once", where=where, then=then)
    if schedule in CYCLIC:
        choices.choose("cycles", CYCLES, "as many snapshots as Huang et al. 2017 tried")
    elif snapshots:
        where, then = f"--schedule {schedule}", "take --schedule sgdr or cyclic"
        raise UsageError("snapshots want a rate that comes back", where=where, then=then)
    return schedule


def _balance(choices: _Choices, dataset: Dataset) -> None:
    """Leave classes as they are where nothing else was asked for: what helps is still measured."""
    if dataset.kind.several:
        for name in ("balance", "distill"):
            if getattr(choices.recipe, name) not in (None, "auto", "none"):
                why = "it is of one label an image, and these have several"
                raise UsageError(f"no --{name} here", why=why, then="leave it away")
        if choices.recipe.choose_by == "balanced":
            why = "these images have several labels, each of which counts alike in F1"
            raise UsageError("no --choose-by balanced here", why=why, then="--choose-by f1")
    if choices.values["balance"] == "auto":
        choices.values["balance"] = "none"
        if dataset.imbalance():
            then = "--balance logits lets every class count alike"
            choices.reasons["balance"] = f"classes are uneven: {then}"


def _images(choices: _Choices, model: str) -> None:
    if choices.recipe.data == "digits":
        reason = "a digit in the mirror is another digit, and 8 pixels are few"
        choices.choose("augment", "none", reason)
        choices.choose("views", "one", "a digit in the mirror is another digit")
    name = choices.choose("augment", USUAL, "better than none, lecture and strong where measured")
    if (text := str(Policy.parse(name))) != name:  # written out, so that a run repeats for ever
        reason = choices.reasons.get("augment")
        choices.values["augment"] = text
        choices.reasons["augment"] = f"{name}: {reason}" if reason else name
    mix = choices.choose("mix", "none", "neither mixup nor cutmix helped where measured")
    if mix in MIX_ALPHA:
        choices.choose("mix_alpha", MIX_ALPHA[mix], f"usual for {mix}")
    usual = "flip+shift" if model == "compact" else "flip"
    policies(choices.choose("views", usual, "cheap at test time"))  # refuses what there is not


def model_of(recipe: Recipe, sizes: np.ndarray) -> tuple[str, str]:
    """Choose the network that a recipe leaves open: (name, reason).

    Args:
        recipe: what was asked.
        sizes: int (n, 2), of the images.
    """
    if recipe.model != "auto":
        return recipe.model, ""
    side = int(np.median(sizes.max(1)))
    if earlier := source.earlier(recipe.weights):
        return str(earlier.spec["name"]), f"the network of {Path(str(recipe.weights)).name}"
    if (name := source.model_named(recipe.weights)) is not None:
        return name, "the network of these weights"
    if source.of_file(recipe.weights):
        path = Path(str(recipe.weights))
        return model_of_file(path.stem), f"named by {path.name}"
    if recipe.weights is None and side <= SMALL:
        return "compact", f"images of {side} pixels, no weights"
    why = f"images of {side} pixels, no weights"
    return source.HUBS, why if recipe.weights is None else "a small network that transfers well"


def usual_batch_size(trained: int, small: bool) -> int:
    """Give the images of a step, for so many to train on; `small` where the network is."""
    most = 128 if small else 64
    return int(np.clip(2 ** int(np.log2(max(trained / 16, 1))), min(8, trained), most))


def usual_epochs(recipe: Recipe, trained: int) -> tuple[float, str]:
    """Give the passes over so many training images, and why."""
    scratch = recipe.weights is None
    seen = 150_000 if scratch else 30_000  # images
    epochs = float(np.clip(round(seen / trained), 8 if scratch else 4, 40 if scratch else 20))
    return epochs, f"{counted(trained, 'image')} to train on; --budget 10m lets the clock decide"
