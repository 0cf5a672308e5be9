"""The plan of a transfer: probes, then short measured trials of fine-tuning, then a choice."""

import shlex
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import nn

from polyak.errors import UsageError, counted
from polyak.networks import HEAD
from polyak.train import job, probing, source
from polyak.train.decide import decide
from polyak.train.distributed import World
from polyak.train.recipe import Recipe
from polyak.train.signals import Stop
from polyak.train.trial import Arm, Split
from polyak.transfer import cache, choice, folds, planner, probe
from polyak.transfer.choice import Row
from polyak.transfer.known import known_probe
from polyak.transfer.probes import fold_count
from polyak.transfer.tuning import STRATEGIES


def plan(recipe: Recipe, began: float) -> Iterator[dict]:
    """Measure what each strategy of transfer reaches on some data, within a budget.

    Args:
        recipe: data, model, weights; its budget is the planner's own.
        began: `time.monotonic()` when the command began.

    Yields:
        Records with a "kind": "note", "features", "probe", "cell", "curve", "row", at last "plan".

    Raises:
        UsageError: no weights to start from.
    """
    if recipe.weights is None:
        raise UsageError("there is nothing to plan", then="name weights with --weights")
    until = began + (recipe.budget_seconds or 300.0)
    asked, recipe = recipe, recipe.model_copy(update={"transfer": "auto", "budget": None})
    source.check(recipe)
    with Stop() as stop:
        where = job.set_up(recipe, World())
        dataset, parts = job.open_data(recipe, where, World())
        for line in source.seen_before(recipe, dataset):
            yield {"kind": "note", "line": line}
        recipe, _ = decide(recipe, dataset)
        dataset, parts = job.decoded(dataset, parts, recipe, where, World())  # for trials
        network, spec, page = job.make_network(recipe, parts["train"], where)
        backbone = probing.Backbone(network, spec, page, where, stop)
        _, found = yield from measure(recipe, parts, backbone, began, until)
        yield conclusion(asked, recipe, parts, found)


@dataclass(frozen=True)
class Found:
    """What was measured: a row a strategy, the place in the lecture's table, the trials' arms."""

    rows: dict[str, Row]
    place: planner.Cell
    arms: dict[str, Arm]


def measure(
    recipe: Recipe,
    parts: dict[str, job.Data],
    backbone: probing.Backbone,
    began: float,
    until: float,
) -> Generator[dict, None, tuple[probing.Known, Found]]:
    """Probe every stage, then try fine-tuning until some time of `time.monotonic()`.

    Args:
        recipe: as decided; its `epochs` are those of a whole run.
        parts: decoded.
        backbone: with its starting weights.
        began: when the command began.
        until: when the trials end.
    """
    dataset, arms = parts["train"].dataset, {}
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes)).tolist()
    yield {"kind": "counts", "classes": dict(zip(dataset.classes, counts, strict=True))}
    known = yield from probing.learn(backbone, parts["train"], probing.LINEAR, recipe.seed)
    place = yield from _place(known, recipe.seed)
    rows, labels = yield from _probed(backbone, parts, known, began)
    if rows and time.monotonic() < until:
        splits = _splits(backbone, parts, known, recipe.seed)

        def trial(name: str, seconds: float) -> Row:
            if name not in arms:
                one = recipe.model_copy(update={"transfer": name, "average": (0.0,)})
                arms[name] = Arm(one, splits, labels, backbone.page, backbone.where, backbone.stop)
            return arms[name].go(seconds)

        def worth(row: Row) -> float:
            # turns are alike: what each made of its own decides who gets another
            return choice.gain(replace(row, share=1.0), choice.better_probe(rows.values()))

        for row in planner.halving(STRATEGIES, until, trial, worth):
            rows[row.strategy] = row
            yield {"kind": "row", **row.as_json()}
    return known, Found(rows, place, arms)


def _place(known: probing.Known, seed: int):
    """Probe every stage alone, and tell of the cell and of the curve over data size."""
    labels, groups = known.train.dataset.labels, known.train.dataset.groups
    classes = len(known.train.dataset.classes)
    read = ~np.isnan(known.features.table[:, 0])
    alone = {}
    for name in known.features.widths:
        if name == HEAD:
            alone[name] = known.probes["linear"]
        else:
            rows, how = known.features.of([name])[read], {"groups": groups, "folder": cache.home()}
            alone[name] = known_probe(rows, labels, classes, seed=seed, **how)
        yield {"kind": "probe", "stage": name, **probing.told(alone[name])}
    place = planner.cell(labels, alone)
    yield {"kind": "cell", "amount": place.amount, "data": place.kind, "why": place.why,
           "strategy": place.strategy}  # fmt: skip
    head = known.features.of([HEAD])[read]
    points = planner.curve(
        head, labels, classes, known.probes["linear"].l2, seed=seed, groups=groups
    )
    yield {"kind": "curve", "points": points}
    return place


def _probed(backbone, parts, known, began):
    """Measure both probes on every picture that a trial may be judged by.

    Returns:
        (rows by strategy, labels of those pictures): first the held-out ones, then the training
        pictures, each judged by a classifier of cross-validation that did not see it.
    """
    rows: dict[str, Row] = {}
    labels = known.train.dataset.labels
    if "val" in parts:
        labels = np.concatenate([parts["val"].dataset.labels, labels])
    for name in probing.LINEAR:
        logs, found = [known.probes[name].logs], known.probes[name]
        if "val" in parts:
            held_out = np.full((len(parts["val"]), len(found.bias)), np.nan, np.float32)
            answers, _ = yield from probing.said(backbone, parts["val"], found, name, "one")
            held_out[answers[2]] = answers[0]
            logs = [held_out, *logs]
        if not np.isnan(logs := np.concatenate(logs)).all():
            rows[name] = Row.of(name, logs, labels, time.monotonic() - began)
            yield {"kind": "row", **rows[name].as_json()}
    return rows, labels


def _splits(backbone, parts, known, seed) -> list[Split]:
    """Hold out the validation part, then one fold of the training pictures after the other."""
    train, classes = known.train, len(known.train.dataset.classes)
    held_out = parts.get("val", ())
    names = probing.stages_of(known.better, known.features)
    features, widths = known.features.of(names), [known.features.widths[name] for name in names]
    features = features[~np.isnan(features[:, 0])]

    def start(learnt: np.ndarray | None = None) -> nn.Module:
        knowing = known
        if learnt is not None:
            part = train.dataset.take(learnt)
            how = {"seed": seed, "widths": widths, "groups": part.groups}
            fitted = probe(features[learnt], part.labels, classes, **how)
            knowing = replace(known, probes={known.better: fitted})
        return probing.classified(backbone, knowing, knowing.better)[0]

    found = [Split(train, held_out, np.arange(len(held_out)), start)] if held_out else []
    fold = folds(train.dataset.labels, seed, fold_count(len(train)), train.dataset.groups)
    for number in np.unique(fold[fold >= 0]):
        learnt, judges = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        places, begin = len(held_out) + judges, partial(start, learnt)
        found.append(Split(train.take(learnt), train.take(judges), places, begin))
    return found


def conclusion(asked: Recipe, recipe: Recipe, parts: dict[str, job.Data], found: Found) -> dict:
    """Choose, and say what it will take and how sure that is: a record of kind "plan".

    Args:
        asked: the user's own choices.
        recipe: the same, decided.
        parts: of the data.
        found: by `measure`.
    """
    rows, place, arms, notes = found.rows, found.place, found.arms, []
    if not rows:
        chosen, why, accuracy = (
            place.strategy,
            "nothing could be measured: the lecture's cell",
            None,
        )
    else:
        row, why = choice.choose(list(rows.values()), len(parts["train"]))
        chosen, accuracy = row.strategy, vars(row.accuracy)
        if row.n < choice.THIN:
            notes.append(
                f"evidence is thin: {counted(row.n, 'image')} to judge by; every row's accuracy "
                f"is known to within {(row.accuracy.high - row.accuracy.low) / 2:.0%} only"
            )
    if not arms:
        notes.append("no fine-tuning was tried: the budget was spent, or there is no validation")
    seconds = rows[chosen].seconds if chosen in rows else None
    if chosen in arms:
        batches = max(1, len(parts["train"]) // (recipe.batch_size or 1))
        seconds = round((recipe.epochs or 1) * batches * arms[chosen].step_seconds)
        if (share := rows[chosen].share) < 1:
            notes.append(
                f"its trial was {share:.1%} of a full run: what is expected of the rest is what is "
                "usual; a longer --budget measures it"
            )
        else:
            notes.append(
                "a full run learns from more pictures than its trial: expect a little more"
            )
    return {
        "kind": "plan", "chosen": chosen, "why": why, "accuracy": accuracy, "seconds": seconds,
        "lecture": place.strategy, "notes": notes, "rows": [row.as_json() for row in rows.values()],
        "command": command(asked, chosen),
    }  # fmt: skip


def note(page: dict, record: dict) -> None:
    """Add a record to what plan.json holds.

    >>> page = {}
    >>> note(page, {"kind": "curve", "points": [1]}), page
    (None, {'curve': [1]})
    """
    facts = {name: value for name, value in record.items() if name != "kind"}
    kind = record["kind"]
    if kind == "counts":
        page["counts"] = facts["classes"]
    elif kind == "curve":
        page["curve"] = facts["points"]
    elif kind == "cell":
        page["cell"] = facts
    elif kind == "row":
        page.setdefault("trials", []).append(facts)
    elif kind == "probe" and "stage" in facts:
        page.setdefault("stages", []).append(facts)
    elif kind == "plan":
        page |= facts


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
