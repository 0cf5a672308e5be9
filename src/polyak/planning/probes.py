"""Linear probes on the features of a frozen network, fitted before any training."""

import copy
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import nn

from polyak import networks, transfer
from polyak.augment.views import policies
from polyak.data.decodable import check_classes
from polyak.data.parts import Part
from polyak.ensemble import combine
from polyak.errors import RefusedError
from polyak.networks.head import set_head
from polyak.recipe.resolved import PROBES
from polyak.rundir.events import Event, FeaturesEvent, NoteEvent
from polyak.rundir.plan_events import ProbeEvent
from polyak.targets import TargetKind, value_by
from polyak.training.network import Network
from polyak.training.session import Session
from polyak.transfer import cache
from polyak.transfer.features import LARGEST
from polyak.transfer.solutions import ProbeCache


@dataclass(frozen=True)
class Backbone:
    """Ask a network for the features of images, before anything is trained.

    Args:
        session: the context.
        network: with its starting weights.
        unkept: why the disk remembers no features, once that was told.
    """

    session: Session
    network: Network
    unkept: list[str] = field(default_factory=list)

    @cached_property
    def widths(self) -> dict[str, int]:
        """The stages and their numbers of features; a pass of the network."""
        return networks.stages(self.network.module)

    def features(
        self, part: Part, view: transfer.View
    ) -> Generator[Event, None, transfer.Features]:
        """Extract the features of some images, or find them; tell of it on the way."""
        stop = self.session.stop
        settings = transfer.Settings(
            self.widths, self.session.machine.threads.loader, cache.home(),
            check=lambda: stop.check("the features so far"),
        )  # fmt: skip
        work = transfer.extraction(
            self.network.module, part.images, self.network.preprocessing, part.dataset.digests,
            view, settings,
        )  # fmt: skip
        while True:
            try:
                done = next(work)
            except StopIteration as end:
                found = end.value
                break
            yield FeaturesEvent(done, len(part))
        if found.unkept and not self.unkept:
            self.unkept.append(found.unkept)
            why = f"nothing can be kept in {found.unkept}"
            yield NoteEvent(f"the next run computes features anew: {why}")
        return found


@dataclass(frozen=True)
class ProbeResults:
    """Hold what is known of the training images before any training.

    Args:
        train: those whose features could be read.
        features: theirs.
        probes: by strategy.
        fold: int64 (n,), in which cross-validation held each out; -1: in none.
        failed: (path, reason) of the others.
        by: what tells probes apart, as `--choose-by` has it.
    """

    train: Part
    features: transfer.Features
    probes: dict[str, transfer.Probe]
    fold: np.ndarray
    failed: list[tuple[str, str]]
    by: str = "auto"

    @property
    def best(self) -> str:
        """The strategy whose probe does best in cross-validation, by NLL where no other figure is
        asked for: what training starts from.
        """
        if self.by in ("auto", "nll"):
            return min(self.probes, key=lambda name: cross_validated(self.probes[name])["nll"])
        return max(self.probes, key=lambda name: self._value(self.probes[name]))

    def _value(self, probe: transfer.Probe) -> float:
        seen = ~np.isnan(probe.log_probs).any(1)
        if not seen.any():
            return 0.0
        data = self.train.dataset
        return value_by(self.by, data.kind, probe.log_probs[seen], data.labels[seen])

    @property
    def read(self) -> np.ndarray:
        """Rows of the features that could be read: int64 (n,)."""
        return np.flatnonzero(~np.isnan(self.features.table[:, 0]))

    def columns(self, strategy: str) -> np.ndarray:
        """The features that a strategy's probe reads, of the images that could be read."""
        found = self.features.of(stages_of(strategy, self.features))
        return found[self.read] if self.failed else found


def stages_of(strategy: str, features: transfer.Features) -> tuple[str, ...]:
    """Name the stages that a strategy's head reads."""
    return tuple(features.widths) if strategy == "stages" else (networks.HEAD,)


def fit_probes(
    backbone: Backbone, strategies: tuple[str, ...] = PROBES
) -> Generator[Event, None, ProbeResults]:
    """Extract the training images' features and fit the probes of some strategies.

    Raises:
        DataError: no image of a class can be read.
        RefusedError: the weights give features that are not finite.
    """
    session, train = backbone.session, backbone.session.data.train
    features = yield from backbone.features(train, transfer.View())
    failed = [(train.dataset.paths[position], why) for position, why in features.failed]
    lost = [position for position, _ in features.failed]
    part = train.take(np.setdiff1d(np.arange(len(train)), lost)) if failed else train
    check_classes(part.dataset)
    labels, classes = part.labels, part.dataset.classes
    count = session.resolved.folds or transfer.fold_count(len(part))
    fold = transfer.folds(part.dataset.strata, session.resolved.seed, count, part.dataset.groups)
    results = ProbeResults(part, features, {}, fold, failed, session.resolved.choose_by)
    for strategy in strategies:
        session.stop.check("nothing was begun")
        columns = results.columns(strategy)
        if not -LARGEST < columns.min() <= columns.max() < LARGEST:
            why = "features that the disk remembers are too large, or not finite"
            raise RefusedError("these weights cannot be probed", why=why, then="take others")
        results.probes[strategy] = ProbeCache(cache.home()).probe(
            columns, labels, len(classes), seed=session.resolved.seed,
            widths=[features.widths[name] for name in stages_of(strategy, features)],
            fold=results.fold,
        )  # fmt: skip
        if session.resolved.balance != "none":
            found = results.probes[strategy]
            results.probes[strategy] = found.balanced(part.dataset.shares())
        yield ProbeEvent(strategy=strategy)
    return results


def with_probe(backbone: Backbone, results: ProbeResults, strategy: str) -> Network:
    """Put a probe on top of the network that its features are of."""
    probe, names = results.probes[strategy], stages_of(strategy, results.features)
    return on_top(backbone, probe, names)


def on_top(backbone: Backbone, probe: transfer.Probe, names: tuple[str, ...]) -> Network:
    """Put a probe on some stages on top of their network."""
    network, spec = backbone.network, dict(backbone.network.spec)
    module: nn.Module = network.module
    if names != (networks.HEAD,) or not set_head(module, probe.weight, probe.bias):
        # a copy: it loses the head that its stages are told apart by
        module = networks.Staged(copy.deepcopy(module), names, len(probe.bias))
        module.to(backbone.session.machine.device)
        module.to(memory_format=torch.channels_last)
        set_head(module, probe.weight, probe.bias)
        spec["options"] = {**spec["options"], "stages": list(names)}
    return Network(module, spec, network.preprocessing)


@dataclass(frozen=True)
class ProbePredictions:
    """Hold what a probe predicts of some images.

    Args:
        log_probs: float32 (n, K), of the images that could be read.
        labels: int64 (n,), theirs.
        read: int64 (n,), their positions.
        failed: (path, reason) of the others.
    """

    log_probs: np.ndarray
    labels: np.ndarray
    read: np.ndarray
    failed: list[tuple[str, str]]


def predict(
    backbone: Backbone, part: Part, probe: transfer.Probe, strategy: str, views: str
) -> Generator[Event, None, ProbePredictions]:
    """Predict images by a probe, averaged over test-time views."""
    rows, missing = [], {}
    for policy in policies(views, backbone.network.preprocessing.fraction):
        seen = yield from backbone.features(part, transfer.View(str(policy)))
        rows.append(probe.logits(seen.of(stages_of(strategy, seen))))
        missing |= dict(seen.failed)
    read = np.setdiff1d(np.arange(len(part)), list(missing))
    log_probs = combine([_log_probs(part.dataset.kind, row[read]) for row in rows])
    failed = [(part.dataset.paths[int(position)], why) for position, why in sorted(missing.items())]
    return ProbePredictions(log_probs, part.labels[read], read, failed)


def cross_validated(probe: transfer.Probe) -> dict[str, float]:
    """Say what cross-validation on the training images measured of a probe."""
    if probe.measured is None:
        return {"l2": probe.l2, "accuracy": 0.0, "nll": 0.0}
    accuracy, nll = probe.measured.first, probe.measured.nll
    return {"l2": probe.l2, "accuracy": accuracy.value, "nll": nll.value}


def _log_probs(kind: TargetKind, logits: np.ndarray) -> np.ndarray:
    return kind.log_probs(torch.from_numpy(np.ascontiguousarray(logits))).numpy()
