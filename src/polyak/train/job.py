"""From a recipe to all that training needs, the same on every process and on every resume."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polyak import keys, machine, optim
from polyak import precision as formats
from polyak.augment import Policy, cutmix, mixup
from polyak.data.dataset import Dataset
from polyak.data.decodable import check_classes
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.data.near_duplicates import grouped
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.data.split import split
from polyak.decoding.decode import LEAST_SIDE, least_for
from polyak.errors import DataError
from polyak.networks.build import build, pretrained_config, spec
from polyak.networks.compact import Compact
from polyak.networks.preprocessing import Preprocessing, preprocessing
from polyak.networks.weights import load_weights, metadata_of
from polyak.regularize import add_dropout, dropped
from polyak.train import environment, source
from polyak.train.decide import colours, decide
from polyak.train.distributed import World
from polyak.train.environment import Machine
from polyak.train.learner import Learner, decay_groups
from polyak.train.recipe import Recipe
from polyak.transfer.memory import FrozenFeatureCache
from polyak.transfer.tuning import STRATEGIES, Tuning

WHITENED = 5000  # pictures that compact's first layer is computed from
MIXES = {"mixup": mixup, "cutmix": cutmix}


@dataclass(frozen=True)
class Data:
    """Hold the pictures of one split: what is known of them, and their pixels."""

    dataset: Dataset
    images: Images

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, positions: np.ndarray) -> "Data":
        """Keep some pictures, in their order."""
        return Data(self.dataset.take(positions), self.images.take(positions))


def set_up(recipe: Recipe, world: World, path: Path | None = None) -> Machine:
    """Choose device, precision and threads, and set torch up for them.

    A run that is resumed (`path`) goes on in the precision and with the threads that it began with:
    the last bits of its sums depend on them.
    """
    device = machine.device(recipe.device)
    wanted = "float32" if looks_once(recipe) else recipe.precision
    total = recipe.threads or max(1, machine.cores() // world.local_size)
    threads = machine.threads(total, device)
    if path is not None:
        before = environment.of(path)
        threads, wanted = machine.Threads(**before["threads"]), before["precision"]["name"]
    machine.prepare(threads.compute, device)
    return Machine(device, formats.precision(wanted, device), threads)


def open_data(recipe: Recipe, where: Machine, world: World) -> tuple[Dataset, dict[str, Data]]:
    """Scan, decode and split the data.

    Returns:
        (all usable pictures, their parts by split; a split without pictures is left out).

    Raises:
        DataError: it cannot be trained on.
    """
    cores = where.threads.compute
    dataset = scan(find(recipe.data, recipe.classes_from), cores, recipe.pixel_cap)
    budget = 0 if looks_once(recipe) else room(recipe, world)
    images = Images.open(dataset, cores, budget, least=least(recipe, dataset))
    dataset, images = dataset.without(images.failed), images.take(images.good)
    check_classes(dataset)
    dataset = split(grouped(dataset, cores, images), recipe.val, recipe.seed)
    if line := dataset.imbalance():
        dataset.warnings.append(line)
    whole = Data(dataset, images)
    by_split = {name: np.flatnonzero(dataset.splits == name) for name in ("train", "val", "test")}
    parts = {name: whole.take(positions) for name, positions in by_split.items() if len(positions)}
    if "train" not in parts:
        raise DataError("there is no picture to train on", where=recipe.data)
    return dataset, parts


def least(recipe: Recipe, dataset: Dataset) -> tuple[int, int] | None:
    """Say how far large JPEGs may be shrunk while they are decoded; None where none is large."""
    if not (dataset.sizes.min(1) >= 2 * LEAST_SIDE - 1).any():
        return None
    # widths do not matter here, and those of a run of polyak 0.1 may not be its weights'
    plain = recipe.model_copy(update={"widths": None})
    decided, _ = decide(plain, split(dataset, recipe.val, recipe.seed))
    if decided.size:
        return least_for((decided.size, decided.size))
    if earlier := source.earlier(recipe.weights):
        return least_for(earlier.preprocessing.size)
    # weights know their size, and the pictures are needed before the network that they start
    known = Compact(2) if decided.model == "compact" else pretrained_config(decided.model)
    metadata = metadata_of(recipe.weights) if recipe.weights not in (None, "hub") else None
    return least_for(preprocessing(known, metadata).size)


def looks_once(recipe: Recipe) -> bool:
    """Tell whether a run begins with one pass of features, for which nothing need be kept."""
    return recipe.weights is not None and recipe.transfer != "none"


def room(recipe: Recipe, world: World) -> int:
    """Give the bytes that this process may fill with decoded pictures."""
    free = recipe.memory * 2**30 if recipe.memory else machine.memory() / 4
    return int(free / world.local_size)


def make_network(
    recipe: Recipe, train: Data, where: Machine
) -> tuple[nn.Module, dict[str, Any], Preprocessing]:
    """Build the network with its starting weights, and the preprocessing that they want.

    Returns:
        (network on its device, its description for the model file, preprocessing).

    Raises:
        UsageError: no such model, or no weights to be had.
        RefusedError: the weights do not fit.
    """
    torch.manual_seed(keys.key("init", recipe.draws))
    classes = len(train.dataset.classes)
    options: dict[str, Any] = {}
    if recipe.model == "compact":
        options = {"size": (recipe.size, recipe.size), "widths": recipe.widths}
    earlier = source.earlier(recipe.weights)
    options = source.options(earlier) if earlier else options
    network = build(recipe.model, classes, hub=recipe.weights == "hub", **options)
    metadata = None
    if earlier:
        metadata = source.start(network, earlier, train.dataset.classes)
    elif recipe.weights not in (None, "hub"):
        metadata = load_weights(network, recipe.weights).metadata
    wanted: dict[str, Any] = {"size": recipe.size} if recipe.size else {}
    wanted["bits"] = train.dataset.bits
    if recipe.weights is None:
        wanted["mean"], wanted["std"] = colours(train.images)
        wanted["fraction"] = 1.0
    wanted |= {name: getattr(recipe, name) for name in ("mean", "std") if getattr(recipe, name)}
    page = preprocessing(network, metadata, **wanted)
    network.to(memory_format=torch.channels_last).to(where.device)
    if isinstance(network, Compact) and recipe.weights is None:
        whiten(network, train, page, where)
    if recipe.dropout:
        example = torch.zeros((1, 3, *page.size), device=where.device)
        how = recipe.dropout_where, recipe.dropout, recipe.dropout_kind
        add_dropout(network, *how, example=example)
    return network, spec(recipe.model, classes, **options), page


def places(network: nn.Module) -> str:
    """Say where dropout was put into a network."""
    found = dropped(network)
    count = "1 place" if len(found) == 1 else f"{len(found)} places"
    return f"in {count}: {', '.join(found[:4])}{', ...' if len(found) > 4 else ''}"


def whiten(network: Compact, train: Data, page: Preprocessing, where: Machine) -> None:
    """Compute compact's first layer from training pictures as the network will see them."""
    chosen = train.images.take(
        np.linspace(0, len(train) - 1, min(len(train), WHITENED)).astype(int)
    )
    labels = np.zeros(len(chosen), np.int64)
    how = {"batch_size": 256, "seed": 0, "threads": where.threads.loader, "shuffle": False}
    policy = Policy.centre(page.fraction)
    loader = Loader(chosen, labels, policy, size=page.size, mean=page.mean, std=page.std, **how)
    pictures = torch.cat([batch.images.clone() for batch in loader.epoch(0)])
    network.whiten(pictures.to(where.device))


def make_loader(
    recipe: Recipe, train: Data, page: Preprocessing, where: Machine, world: World
) -> Loader:
    """Open the training batches: augmented, shuffled, this process's share of each."""
    return Loader(
        train.images,
        train.dataset.labels,
        Policy.parse(recipe.augment),
        size=page.size,
        mean=page.mean,
        std=page.std,
        batch_size=recipe.batch_size or 1,
        seed=recipe.draws,
        threads=where.threads.loader,
        rank=world.rank,
        world=world.size,
    )


def make_learner(
    recipe: Recipe,
    network: nn.Module,
    where: Machine,
    world: World,
    steps: int,
    teacher: Callable[[Tensor], Tensor] | None = None,
    loader: Loader | None = None,
) -> Learner:
    """Make the learner of a decided recipe that expects to take so many steps.

    What sleeps runs as a twin, once for each of the loader's pictures where nothing random changes
    them.
    """
    assert isinstance(recipe.learning_rate, float) and recipe.label_smoothing is not None
    groups = decay_groups(network, recipe.learning_rate, recipe.weight_decay or 0.0)
    tuning = memory = None
    if recipe.transfer in STRATEGIES:
        tuning = tune(recipe, network)
        if world.size == 1 and sleeps(recipe):
            kept = len(loader.labels) if loader and undisturbed(recipe) else 0
            memory = FrozenFeatureCache.of(
                network, tuning, kept, machine.memory() / 4 if kept else 0
            )
        groups = tuning.groups(recipe.learning_rate, recipe.weight_decay or 0.0)
    elif isinstance(network, Compact):
        groups = network.parameter_groups(recipe.learning_rate, recipe.weight_decay or 0.0)
    classes: Any = network.classes if isinstance(network, Compact) else network.num_classes
    mix = MIXES.get(recipe.mix)
    return Learner(
        network,
        groups,
        optimizer=recipe.optimizer,
        schedule=schedule(recipe),
        rho=recipe.rho,
        rho_range=recipe.rho_range,
        half_lives=[share * steps for share in recipe.average],
        label_smoothing=recipe.label_smoothing,
        mix=(partial(mix, alpha=recipe.mix_alpha or 1.0), classes) if mix else None,
        seed=recipe.draws,
        world=world,
        precision=where.precision.name,
        teacher=teacher,
        tuning=tuning,
        memory=memory,
    )


def sleeps(recipe: Recipe) -> bool:
    """Tell whether stages that do not learn compute what they would in use: no dropout in them."""
    return not recipe.dropout or recipe.dropout_where == "head"


def undisturbed(recipe: Recipe) -> bool:
    """Tell whether a picture is the same input at every step.

    >>> from polyak.train import make
    >>> undisturbed(make(augment="none", mix="none")), undisturbed(make(augment="light"))
    (True, False)
    """
    return recipe.augment == "none" and recipe.mix == "none"


def tune(recipe: Recipe, network: nn.Module) -> Tuning:
    """Set a network up for the fine-tuning that a decided recipe asks for."""
    return Tuning(
        network,
        recipe.transfer,
        norms=not recipe.freeze_norms,
        layer_decay=recipe.layer_decay or 1.0,
        pull=recipe.pull,
        unfreeze=recipe.unfreeze,
    )


def decoded(
    dataset: Dataset, parts: dict[str, Data], recipe: Recipe, where: Machine, world: World
) -> tuple[Dataset, dict[str, Data]]:
    """Keep decoded pictures in memory, for training that looks at them many times.

    Returns:
        (the data with what could not be decoded in quarantine, its parts without it).
    """
    lost, free, kept = {}, room(recipe, world), {}
    for name, part in parts.items():
        if part.images.kept == len(part):  # decoded before
            kept[name] = part
            continue
        images = Images.open(part.dataset, where.threads.compute, free, least=part.images.how.least)
        free = max(0, free - int(images.sizes[: images.kept].prod(1).sum()) * 3)
        lost |= {part.dataset.paths[position]: why for position, why in images.failed}
        kept[name] = Data(part.dataset, images).take(images.good)
    return dataset.set_aside(lost), kept


def lost(parts: dict[str, Data]) -> dict[str, str]:
    """Name the images that could not be read since they were opened: path -> reason."""
    return {path: why for part in parts.values() for path, why in part.images.lost.items()}


def schedule(recipe: Recipe) -> Callable[[float], float]:
    """Make the schedule of a decided recipe: progress in [0, 1] -> factor of the peak rate.

    >>> from polyak.train import make
    >>> ramp = schedule(make(schedule="sgdr", cycles=2, warm_up=0.5))
    >>> ramp(0.25), round(ramp(0.625), 3), ramp(0.75)
    (0.5, 0.5, 1.0)
    """
    how = recipe.cycles, recipe.cycle_growth, recipe.cycle_peak, recipe.warm_up
    return optim.schedules.named(recipe.schedule, *how)
