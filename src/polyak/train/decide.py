"""What the user left open, decided from data and machine, each decision with its reason."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from polyak.augment import Policy
from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.errors import UsageError, counted
from polyak.model import Classifier
from polyak.networks import compact
from polyak.optim.schedules import CYCLES
from polyak.train import source
from polyak.train.recipe import USUAL, Recipe

# peak rates to start from, for batches of 128 and a network from scratch
RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adagrad": 0.02,
    "rmsprop": 1e-3,
    "adam": 1e-3,
    "adamw": 1e-3,
    "nadam": 1e-3,
    "lion": 1e-4,
}
ADAPTIVE = {"adagrad", "rmsprop", "adam", "adamw", "nadam", "lion"}  # step as long for any gradient
RAMPED = ("cosine", "step", "exponential", "inverse")  # begin at the peak, and on one slope only
CYCLIC = ("sgdr", "cyclic")
SMALL = 64  # pixels: up to here `compact` is the better use of minutes
MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}  # of the papers, on ImageNet and on CIFAR
LARGEST_SCRATCH = 128  # pixels a side, from scratch: more costs minutes that few pictures repay


def decide(recipe: Recipe, data: Dataset) -> tuple[Recipe, dict[str, str]]:
    """Fill what is None or `auto`, as far as data alone can tell.

    Args:
        recipe: what was asked.
        data: the scanned pictures.

    Returns:
        (a recipe without open choices but `epochs` or `budget`, reason by name of the choice).
    """
    choices, reasons = {}, {}

    def choose(name: str, value, reason: str):
        current = choices.get(name, getattr(recipe, name))
        if current is None or current == "auto":
            choices[name], reasons[name] = value, reason
        return choices.get(name, current)

    side, earlier = int(np.median(data.sizes.min(1))), source.earlier(recipe.weights)
    model = choose("model", *_model(recipe, earlier, int(np.median(data.sizes.max(1)))))
    small, scratch = model == "compact", recipe.weights is None
    if small:
        _widths(recipe, earlier, choose)
    usual = "measured with compact and nesterov on CIFAR-10" if small else "default for timm models"
    trained = len(data.part("train"))
    for choice in _transfer(recipe):
        choose(*choice)
    if scratch or (small and not earlier):  # other weights know their size
        size = side if small else max(32, min(LARGEST_SCRATCH, side // 32 * 32))
        choose("size", int(np.clip(size, 8, 64)) if small else size, f"median side is {side}")
    choose("optimizer", "nesterov" if small else "adamw", usual)
    schedule = _schedule(recipe, choose, small, usual)
    choose("warm_up", 0.05 if schedule in RAMPED else 0.0, f"customary with {schedule}")
    choose("batch_size", _batch_size(trained, small), f"{counted(trained, 'image')} to train on")
    if recipe.learning_rate is None:  # `auto` waits for the network
        choose("learning_rate", *default_rate(recipe.model_copy(update=choices)))
    choose("rho", compact.MOMENTUM if small else 0.9, usual)
    choose("weight_decay", compact.WEIGHT_DECAY if small else 0.05, usual)
    choose("label_smoothing", compact.LABEL_SMOOTHING if small else 0.1, usual)
    if recipe.data == "digits":
        choose("augment", "none", "a digit in the mirror is another digit, and 8 pixels are few")
        choose("views", "one", "a digit in the mirror is another digit")
    choose("augment", USUAL, "better than none, lecture and strong where measured")
    name = choices.get("augment", recipe.augment)
    if (text := str(Policy.parse(name))) != name:  # written out, so that a run repeats for ever
        choices["augment"], why = text, reasons.get("augment")
        reasons["augment"] = f"{name}: {why}" if why else name
    mix = choose("mix", "none", "neither mixup nor cutmix helped where measured")
    if mix in MIX_ALPHA:
        choose("mix_alpha", MIX_ALPHA[mix], f"usual for {mix}")
    choose("views", "flip+shift" if small else "flip", "cheap at test time")
    if recipe.budget is None:
        choose("epochs", *_epochs(trained, scratch))
    return recipe.model_copy(update=choices), reasons


def default_rate(recipe: Recipe) -> tuple[float, str]:
    """Give the peak rate to start from and why, for a recipe decided in model, rule and batch.

    >>> from polyak.train import make
    >>> default_rate(make(model="resnet18", optimizer="adamw", batch_size=64))
    (0.0005, 'start for adamw, scratch')
    """
    batch, optimizer = recipe.batch_size or 1, recipe.optimizer
    if recipe.model == "compact" and optimizer in compact.RATE_PER_PICTURE:
        rate = compact.RATE_PER_PICTURE[optimizer] * batch
        return float(f"{rate:.3g}"), "measured with compact, by batch size"
    if recipe.weights is None:
        kind, share = "scratch", min(1.0, batch / 128)
    elif optimizer in ADAPTIVE:  # noise of such steps falls with the batch's root (Malladi 2022)
        kind, share = "fine-tuning", 0.5 * min(1.0, batch / 64) ** 0.5
    else:
        kind, share = "fine-tuning", 0.2 * min(1.0, batch / 128)
    return float(f"{RATES[optimizer] * share:.2g}"), f"start for {optimizer}, {kind}"


_AT_ONCE = 1 << 20  # pixels of an image, as numbers of 8 bytes


def colours(images: Images, most: int = 1000) -> tuple[tuple, tuple]:
    """Measure mean and standard deviation of each colour, in [0, 1], over up to `most` pictures.

    >>> colours(Images.of(np.full((2, 4, 4, 3), 51, np.uint8)))
    ((0.2, 0.2, 0.2), (0.05, 0.05, 0.05))
    """
    chosen = np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)
    sums, squares, pixels = np.zeros(3), np.zeros(3), 0
    for position in chosen:
        picture = images[position].reshape(-1, 3)
        for start in range(0, len(picture), _AT_ONCE):
            part = picture[start : start + _AT_ONCE].astype(np.float64) / 255
            sums, squares = sums + part.sum(0), squares + (part**2).sum(0)
        pixels += len(picture)
    mean = sums / pixels
    # pictures of one colour have no spread: dividing by it would blow up noise
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0.05**2))
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())


def _schedule(recipe: Recipe, choose: Callable, small: bool, reason: str) -> str:
    snapshots, usual = recipe.ensemble == "snapshots", "triangular" if small else "cosine"
    if snapshots:
        usual, reason = "sgdr", "a snapshot is taken where the rate has fallen"
    schedule = choose("schedule", usual, reason)
    if schedule in CYCLIC:
        choose("cycles", CYCLES, "as many snapshots as Huang et al. 2017 tried")
    elif snapshots:
        where, then = f"--schedule {schedule}", "take --schedule sgdr or cyclic"
        raise UsageError("snapshots want a rate that comes back", where=where, then=then)
    return schedule


def _transfer(recipe: Recipe) -> Iterator[tuple[str, Any, str]]:
    """Choose whether and how weights are tuned: (name, value, reason)."""
    if (why := _training_why(recipe)) is not None:
        yield "transfer", "none", why
    if recipe.weights is not None:
        yield "layer_decay", 0.7, "early stages are of use as they are"
        yield "freeze_norms", True, "the probe that training starts from has read the source's"


def _training_why(recipe: Recipe) -> str | None:
    """Say why a recipe that leaves `transfer` open trains the whole network, if it does."""
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


def _widths(recipe: Recipe, earlier: Classifier | None, choose: Callable) -> None:
    """Choose the widths of compact: those of the weights, which no wish can change."""
    given = source.widths(recipe.weights, earlier)
    if given is None:
        if recipe.budget is None:  # a budget's widths follow measured speed
            choose("widths", compact.REFERENCE, "measured on 45,000 images of 32 pixels")
    elif recipe.widths in (None, given):
        choose("widths", given, f"those of {Path(str(recipe.weights)).name}")
    else:
        there, here = (" ".join(map(str, one)) for one in (given, recipe.widths))
        raise UsageError(
            "the weights have other widths",
            where=f"--widths {here}",
            why=f"{recipe.weights} has {there}",
            then="leave --widths away",
        )


def _model(recipe: Recipe, earlier: Classifier | None, side: int) -> tuple[str, str]:
    if earlier:
        return str(earlier.spec["name"]), f"the network of {Path(str(recipe.weights)).name}"
    if recipe.weights not in (None, "hub"):
        return Path(recipe.weights).stem, f"named by {Path(recipe.weights).name}"
    if recipe.weights is None and side <= SMALL:
        return "compact", f"pictures of {side} pixels, no weights"
    why = f"pictures of {side} pixels; ImageNet weights (--weights) would need far fewer of them"
    return source.HUBS, why if recipe.weights is None else "a small network that transfers well"


def _batch_size(trained: int, small: bool) -> int:
    most = 128 if small else 64
    return int(np.clip(2 ** int(np.log2(max(trained / 16, 1))), min(8, trained), most))


def _epochs(trained: int, scratch: bool) -> tuple[float, str]:
    seen = 150_000 if scratch else 30_000  # pictures
    epochs = float(np.clip(round(seen / trained), 8 if scratch else 4, 40 if scratch else 20))
    return epochs, f"{counted(trained, 'image')} to train on; --budget 10m lets the clock decide"
