"""The first stage: from a recipe to opened data and resolved choices, on every process alike."""

from pathlib import Path

from polyak import files
from polyak.data.dataset import Dataset
from polyak.data.decodable import check_classes
from polyak.data.exclude import excluded
from polyak.data.folds import dealt
from polyak.data.groups import named_by
from polyak.data.images import Images
from polyak.data.near_duplicates import grouped
from polyak.data.parts import Splits
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.data.split import split
from polyak.errors import DataError
from polyak.jobs.command import Command
from polyak.machine import cores
from polyak.model import source
from polyak.recipe.decode_size import decode_size
from polyak.recipe.machine import Machine, cache_bytes, set_up
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import begins_with_features, resolve
from polyak.recipe.weights import check_backbones, with_weights
from polyak.rundir import environment
from polyak.targets import BALANCED
from polyak.training import distillation
from polyak.training.pace import Clock
from polyak.training.session import Session
from polyak.training.timing import fit_widths


def open_session(command: Command) -> Session:
    """Set the machine up, open the data, resolve what was left open.

    Raises:
        PolyakError: data, machine and choices do not go together, or have changed since the run
            that is resumed began.
    """
    recipe, path, process = command.recipe, command.path, command.process
    source.check(recipe.weights, recipe.model)
    check_backbones(recipe)
    if process.leads:
        files.check_writable(path or Path(command.asked.out))
    before = environment.of(path) if path else None
    dataset = scan_data(recipe, process.local_size)
    recipe, reason = with_weights(recipe, dataset)
    machine = set_up(recipe, process.local_size, before)
    data = open_data(recipe, dataset, machine, process.local_size)
    earlier = [name for name in (recipe.weights, recipe.distill) if name]
    data.dataset.warnings.extend(source.seen_before(earlier, data.dataset))
    command.stop.check("nothing was begun")
    resolved = resolve(recipe, data.dataset, {"weights": reason} if reason else None)
    if path is not None and before is not None:
        environment.check_unchanged(path, data.dataset)
        distillation.check_unchanged(recipe.distill, before.get("teacher", ""), path)
    if resolved.balance != "none":
        data = data.of_kind(BALANCED)
    clock = Clock(recipe.budget_seconds, command.began)
    return fit_widths(Session(resolved, machine, process, data, clock, command.stop))


def scan_data(recipe: Recipe, processes: int = 1) -> Dataset:
    """Read names, labels, headers and hashes of the images, on the cores of this process.

    Args:
        recipe: names the data.
        processes: that share the machine.

    Raises:
        DataError: no such data, or none that can be used.
        UsageError: groups that cannot be had.
    """
    threads = recipe.threads or max(1, cores() // processes)
    listing = find(recipe.data, recipe.classes_from, label_separator=recipe.label_separator)
    found = scan(listing, threads, recipe.pixel_cap)
    return named_by(excluded(found, recipe.exclude), recipe.group_by)


def open_data(recipe: Recipe, dataset: Dataset, machine: Machine, processes: int = 1) -> Splits:
    """Decode and split the data.

    Args:
        recipe: says how it is split, and which weights will see it.
        dataset: scanned.
        machine: whose threads decode.
        processes: that share its memory.

    Raises:
        DataError: it cannot be trained on.
    """
    threads = machine.threads.compute
    kept = 0 if begins_with_features(recipe) else cache_bytes(recipe, processes)
    images = Images.open(dataset, threads, kept, min_size=decode_size(recipe, dataset))
    dataset, images = dataset.without(images.failed), images.take(images.good)
    check_classes(dataset)
    dataset = grouped(dataset, threads, images)
    if recipe.folds is None:
        dataset = split(dataset, recipe.val, recipe.seed)
    else:
        dataset = dealt(dataset, recipe.folds, recipe.fold, recipe.seed)
    if line := dataset.imbalance():
        dataset.warnings.append(line)
    data = Splits.of(dataset, images)
    if "train" not in data.parts:
        raise DataError("there is no image to train on", where=recipe.data)
    return data
