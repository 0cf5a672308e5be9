"""The plan of a transfer: probes, then short measured trials of fine-tuning, then a choice."""

import copy
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from torch import nn

from polyak import metrics
from polyak.errors import UsageError
from polyak.inference import log_probabilities
from polyak.networks import HEAD
from polyak.networks.preprocessing import Preprocessing
from polyak.train import job, probing
from polyak.train.decide import decide
from polyak.train.distributed import World
from polyak.train.recipe import Recipe
from polyak.train.signals import Stop
from polyak.transfer import planner, probe
from polyak.transfer.planner import Row
from polyak.transfer.tuning import STRATEGIES


def plan(recipe: Recipe, began: float) -> Iterator[dict]:
    """Measure what each strategy of transfer reaches on some data, within a budget.

    Args:
        recipe: data, model, weights; its budget is the planner's own.
        began: `time.monotonic()` when the command began.

    Yields:
        Records with a "kind": "features", "probe", "cell", "curve", "row", at last "plan".

    Raises:
        UsageError: no weights to start from.
    """
    if recipe.weights is None:
        raise UsageError("there is nothing to plan", then="name weights with --weights")
    budget = recipe.budget_seconds or 300.0
    asked, recipe = recipe, recipe.model_copy(update={"transfer": "auto", "budget": None})
    with Stop() as stop:
        where = job.set_up(recipe, World())
        dataset, parts = job.open_data(recipe, where, World())
        recipe, _ = decide(recipe, dataset)
        network, spec, page = job.make_network(recipe, parts["train"], where)
        backbone = probing.Backbone(network, spec, page, where, stop)
        labels = parts["train"].dataset.labels
        counts = np.bincount(labels, minlength=len(dataset.classes)).tolist()
        yield {"kind": "counts", "classes": dict(zip(dataset.classes, counts, strict=True))}
        known = yield from probing.learn(backbone, parts["train"], probing.LINEAR, recipe.seed)
        place = yield from _place(known, recipe.seed)
        rows = yield from _probed(backbone, parts, known, began)
        left = budget - (time.monotonic() - began)
        arms: dict[str, _Arm] = {}
        if left > 0 and "val" in parts:
            tuned, _ = probing.classified(backbone, known, "linear")
            _, parts = job.decoded(dataset, parts, recipe, where, World())

            def trial(name: str, seconds: float) -> Row:
                if name not in arms:
                    one = recipe.model_copy(update={"transfer": name, "average": (0.0,)})
                    arms[name] = _Arm(one, copy.deepcopy(tuned), parts, page, where, stop)
                return arms[name].go(seconds)

            for row in planner.halving(STRATEGIES, left, trial):
                rows[row.strategy] = row
                yield {"kind": "row", **row.as_json()}
        yield _plan(asked, recipe, parts, rows, place, arms)


def _place(known: probing.Known, seed: int):
    """Probe every stage alone, and tell of the cell and of the curve over data size."""
    labels = known.train.dataset.labels
    classes = len(known.train.dataset.classes)
    read = ~np.isnan(known.features.table[:, 0])
    alone = {}
    for name in known.features.widths:
        alone[name] = (
            known.probes["linear"]
            if name == HEAD
            else probe(known.features.of([name])[read], labels, classes, seed=seed)
        )
        yield {"kind": "probe", "stage": name, **probing.told(alone[name])}
    place = planner.cell(labels, alone)
    yield {"kind": "cell", "amount": place.amount, "data": place.kind, "why": place.why,
           "strategy": place.strategy}  # fmt: skip
    head = known.features.of([HEAD])[read]
    points = planner.curve(head, labels, classes, known.probes["linear"].l2, seed=seed)
    yield {"kind": "curve", "points": points}
    return place


def _probed(backbone, parts, known, began):
    """Measure both probes on the held-out pictures that trials are measured on."""
    rows: dict[str, Row] = {}
    for name in probing.LINEAR:
        if "val" in parts:
            (logs, labels, _), _ = yield from probing.said(
                backbone, parts["val"], known.probes[name], name, "one"
            )
            measured = metrics.evaluate(np.exp(logs), labels)
        else:
            measured = known.probes[name].measured
        if measured is not None:
            seconds = round(time.monotonic() - began, 2)
            rows[name] = Row(name, measured.accuracy, measured.nll, seconds, measured.n)
            yield {"kind": "row", **rows[name].as_json()}
    return rows


@dataclass
class _Arm:
    """A fine-tuning in trial; each turn is a short run that goes on from the last."""

    recipe: Recipe
    network: nn.Module
    parts: dict[str, job.Data]
    page: Preprocessing
    where: job.Machine
    stop: Stop
    seconds: float = 0.0
    step_seconds: float = 0.0
    epochs: int = 0

    def go(self, seconds: float) -> Row:
        """Train for so many seconds and measure on validation."""
        began, world = time.monotonic(), World()
        loader = job.make_loader(self.recipe, self.parts["train"], self.page, self.where, world)
        learner = job.make_learner(self.recipe, self.network, self.where, world, 1000)
        data, size = self.parts["val"], loader.batch_size
        step, spent, most = 0, 0.0, seconds
        while spent < most:
            with closing(loader.epoch(self.epochs)) as epoch:
                for batch in epoch:
                    self.stop.check("nothing was begun")
                    progress = min(1.0, spent / most)
                    learner.step(batch, step, progress, len(batch.indices))
                    step, spent = step + 1, time.monotonic() - began
                    # what the measurement will take: a third of a step for as many pictures
                    most = seconds - spent / step * (1 + len(data) / size / 3)
                    if spent >= most:
                        break
            self.epochs += 1
        self.step_seconds = spent / step
        logs, _ = log_probabilities(
            self.network, data.images, self.page, device=self.where.device, batch_size=16,
            threads=self.where.threads.loader,
        )  # fmt: skip
        self.seconds += time.monotonic() - began
        measured = metrics.evaluate(np.exp(logs), data.dataset.labels)
        name = self.recipe.transfer
        return Row(name, measured.accuracy, measured.nll, round(self.seconds, 2), measured.n)


def _plan(asked, recipe, parts, rows, place, arms) -> dict:
    """Choose, and say what it will take and how sure that is."""
    notes = []
    if not rows:
        chosen, why, accuracy = (
            place.strategy,
            "nothing could be measured: the lecture's cell",
            None,
        )
    else:
        row, why = planner.choose(list(rows.values()), place.strategy)
        chosen, accuracy = row.strategy, vars(row.accuracy)
        if row.n < planner.THIN:
            notes.append(
                f"evidence is thin: {row.n} held-out pictures; the accuracy of every row is known "
                f"to within {(row.accuracy.high - row.accuracy.low) / 2:.0%} only"
            )
    if not arms:
        notes.append("no fine-tuning was tried: the budget was spent, or there is no validation")
    seconds = rows[chosen].seconds if chosen in rows else None
    if chosen in arms:
        batches = max(1, len(parts["train"]) // (recipe.batch_size or 1))
        seconds = round((recipe.epochs or 1) * batches * arms[chosen].step_seconds)
        notes.append("a full run trains longer than its trial: expect a little more than here")
    return {
        "kind": "plan", "chosen": chosen, "why": why, "accuracy": accuracy, "seconds": seconds,
        "lecture": place.strategy, "notes": notes, "rows": [row.as_json() for row in rows.values()],
        "command": command(asked, chosen),
    }  # fmt: skip


def command(recipe: Recipe, chosen: str) -> str:
    """Write the exact command that does what was chosen.

    >>> from polyak.train import make
    >>> command(make(data="my pictures", weights="w.safetensors", budget="1m"), "few")
    "polyak train 'my pictures' --weights w.safetensors --transfer few"
    """
    words = ["polyak", "train", recipe.data]
    for name, value in recipe.model_dump(mode="json", exclude_defaults=True).items():
        if name not in ("data", "budget", "transfer"):
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join([*words, "--transfer", chosen])
