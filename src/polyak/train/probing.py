"""Runs that train no network: one pass of features, a linear classifier, an ordinary model file."""

import copy
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import nn

from polyak import metrics, model, networks, transfer
from polyak.augment.views import policies
from polyak.data.dataset import Dataset
from polyak.data.decodable import check_classes
from polyak.ensemble import combine
from polyak.errors import RefusedError
from polyak.networks.head import set_head
from polyak.networks.preprocessing import Preprocessing
from polyak.train import election, finish, job
from polyak.train.recipe import Recipe
from polyak.train.run import Run
from polyak.train.signals import Stop
from polyak.transfer import cache
from polyak.transfer.choice import PROBES
from polyak.transfer.features import LARGEST
from polyak.transfer.known import known_probe

LINEAR = PROBES  # strategies that leave the backbone as it is
ONE = "the view that the features are of"


@dataclass(frozen=True)
class Backbone:
    """A network whose features are asked for.

    Args:
        network: with its starting weights, on its device.
        spec: how to build it again.
        page: from picture to input.
        where: device, precision, threads.
        stop: the signal that was noted.
        unkept: why the disk remembered no features, once it was told.
    """

    network: nn.Module
    spec: dict
    page: Preprocessing
    where: job.Machine
    stop: Stop
    unkept: list[str] = field(default_factory=list)

    @cached_property
    def widths(self) -> dict[str, int]:
        """The stages and their numbers of features; a pass of the network."""
        return networks.stages(self.network)

    def features(
        self, part: job.Data, view: transfer.View
    ) -> Generator[dict, None, transfer.Features]:
        """Extract the features of a part of the data, or find them; tell of it on the way."""
        work = transfer.extraction(
            self.network, part.images, self.page, part.dataset.digests, view=view,
            widths=self.widths, threads=self.where.threads.loader, folder=cache.home(),
            check=lambda: self.stop.check("the features so far"),
        )  # fmt: skip
        while True:
            try:
                done = next(work)
            except StopIteration as end:
                found = end.value
                break
            yield {"kind": "features", "done": done, "of": len(part)}
        if found.unkept and not self.unkept:
            self.unkept.append(found.unkept)
            line = f"the next run computes features anew: nothing can be kept in {found.unkept}"
            yield {"kind": "note", "line": line}
        return found


@dataclass(frozen=True)
class Known:
    """What is known of the training pictures before any training.

    Args:
        train: those whose features could be read.
        features: theirs.
        probes: by strategy.
        failed: (path, reason) of the others.
    """

    train: job.Data
    features: transfer.Features
    probes: dict[str, transfer.Probe]
    failed: list[tuple[str, str]]

    @property
    def better(self) -> str:
        """The strategy whose probe has the least cross-validated NLL: what training starts from."""
        return min(self.probes, key=lambda name: told(self.probes[name])["nll"])


def stages_of(strategy: str, features: transfer.Features) -> tuple[str, ...]:
    """Name the stages that a strategy's head reads."""
    return tuple(features.widths) if strategy == "stages" else (networks.HEAD,)


def begin(
    recipe: Recipe, reasons: dict[str, str], train: job.Data, backbone: Backbone
) -> Generator[dict, None, tuple[Recipe, Known]]:
    """Fit the probes that a recipe asks for: itself, or both, for `auto` and to start from.

    Returns:
        (the recipe without that open choice, what is known).
    """
    asked = recipe.transfer
    wanted = (asked,) if asked in LINEAR else LINEAR
    known = yield from learn(backbone, train, wanted, recipe.seed)
    choices = {}
    if asked == "auto":
        choices["transfer"] = known.better
        reasons["transfer"] = "of least NLL in cross-validation"
    if "views" in reasons and recipe.model_copy(update=choices).transfer in LINEAR:
        choices["views"], reasons["views"] = "one", ONE
    return recipe.model_copy(update=choices), known


def learn(
    backbone: Backbone, train: job.Data, strategies: tuple[str, ...], seed: int
) -> Generator[dict, None, Known]:
    """Extract the training pictures' features and fit the probes of some strategies.

    Raises:
        DataError: no image of a class can be read.
        RefusedError: the weights give features that are not finite.
    """
    features = yield from backbone.features(train, transfer.View())
    failed = [(train.dataset.paths[position], why) for position, why in features.failed]
    read = np.setdiff1d(np.arange(len(train)), [position for position, _ in features.failed])
    part = train.take(read) if failed else train
    check_classes(part.dataset)
    labels, classes = part.dataset.labels, len(part.dataset.classes)
    probes = {}
    for strategy in strategies:
        backbone.stop.check("nothing was begun")
        names = stages_of(strategy, features)
        columns = features.of(names)
        columns = columns[read] if failed else columns
        if not -LARGEST < columns.min() <= columns.max() < LARGEST:
            why = "features that the disk remembers are too large, or not finite"
            raise RefusedError("these weights cannot be probed", why=why, then="take others")
        widths = [features.widths[name] for name in names]
        groups = part.dataset.groups
        how = {"seed": seed, "widths": widths, "groups": groups, "folder": cache.home()}
        probes[strategy] = known_probe(columns, labels, classes, **how)
        yield {"kind": "probe", "strategy": strategy}
    return Known(part, features, probes, failed)


def classified(backbone: Backbone, known: Known, strategy: str) -> tuple[nn.Module, dict]:
    """Put a probe on top of the network it belongs to: (network, its description)."""
    found, names = known.probes[strategy], stages_of(strategy, known.features)
    network, spec = backbone.network, dict(backbone.spec)
    if names != (networks.HEAD,) or not set_head(network, found.weight, found.bias):
        # a copy: it loses the head that its stages are told apart by
        network = networks.Staged(copy.deepcopy(network), names, len(found.bias))
        network.to(backbone.where.device)
        network.to(memory_format=torch.channels_last)
        set_head(network, found.weight, found.bias)
        spec["options"] = {**spec["options"], "stages": list(names)}
    return network, spec


def records(
    recipe: Recipe,
    dataset: Dataset,
    parts: dict[str, job.Data],
    backbone: Backbone,
    known: Known,
    run: Run,
    began: float,
) -> Iterator[dict]:
    """Judge the held-out pictures by the probe, write predictions and the model file."""
    views, found = recipe.views or "one", known.probes[recipe.transfer]
    failed, judged = dict(known.failed), {}
    for split in [split for split in ("val", "test") if split in parts]:
        judged[split], missing = yield from said(
            backbone, parts[split], found, recipe.transfer, views
        )
        failed |= dict(missing)
    temperature = calibrated(found, known.train.dataset.labels, judged.get("val"))
    measured = {"evaluation": None, "confused": []}
    for split, (logs, labels, read) in judged.items():
        answers = metrics.softmax(logs, temperature), labels, read
        measured = election.judge(run, parts[split].dataset, split, answers)
    counted = finish.account(run, dataset, failed)
    network, spec = classified(backbone, known, recipe.transfer)
    facts = finish.provenance(recipe, dataset, counted, {"steps": 0})
    facts |= {"evaluation": measured["evaluation"], "probe": told(found)}
    classifier = model.Classifier(
        network, spec, dataset.classes, backbone.page, temperature, views, facts
    )
    model.save(run.model, {"weights": network.state_dict()}, classifier, "weights")
    yield {
        "kind": "end",
        "chosen": recipe.transfer,
        "candidates": {name: told(one) for name, one in known.probes.items()},
        **measured,
        "temperature": temperature,
        **finish.counts(counted),
        "model": str(run.model),
        "images_per_second": 0.0,
        "wait_share": 0.0,
        "seconds": round(time.monotonic() - began, 2),
    }


def said(backbone, part, found, strategy, views):
    """Judge a part: ((log-probabilities, labels, positions read), (path, reason) of failures)."""
    rows, missing = [], {}
    for policy in policies(views, backbone.page.fraction):
        seen = yield from backbone.features(part, transfer.View(str(policy)))
        rows.append(found.logits(seen.of(stages_of(strategy, seen))))
        missing |= dict(seen.failed)
    read = np.setdiff1d(np.arange(len(part)), list(missing))
    logs = combine([_log_softmax(row[read]) for row in rows])
    failed = [(part.dataset.paths[position], why) for position, why in sorted(missing.items())]
    return (logs, part.dataset.labels[read], read), failed


def calibrated(found: transfer.Probe, labels: np.ndarray, val: tuple | None) -> float:
    """Fit a temperature on all pictures that were judged unseen: held out ones, and those of
    cross-validation, without which ten pictures of a small set would calibrate alone.

    >>> logs = np.log([[0.9, 0.1]] * 4)  # 90 % sure, right three times of four
    >>> found = transfer.Probe(np.zeros((2, 1)), np.zeros(2), 0.1, None, logs)
    >>> round(calibrated(found, np.array([0, 0, 0, 1]), None), 4)
    1.217
    """
    seen = ~np.isnan(found.logs).any(1)
    logs, labels = found.logs[seen], labels[seen]
    if val is not None:
        logs, labels = np.concatenate([logs, val[0]]), np.concatenate([labels, val[1]])
    return metrics.fit_temperature(logs, labels) if len(labels) else 1.0


def told(found: transfer.Probe) -> dict:
    """Say what cross-validation on the training pictures said of a probe."""
    if found.measured is None:
        return {"l2": found.l2, "accuracy": 0.0, "nll": 0.0}
    accuracy, nll = found.measured.accuracy, found.measured.nll
    return {"l2": found.l2, "accuracy": accuracy.value, "nll": nll.value}


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.ascontiguousarray(logits)).log_softmax(1).numpy()
