"""A plan of transfer: probes, then short measured trials of fine-tuning, then a choice."""

import time
from collections.abc import Generator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from polyak.errors import counted
from polyak.networks import HEAD
from polyak.planning.probes import (
    Backbone,
    ProbeResults,
    cross_validated,
    fit_probes,
    on_top,
    predict,
    stages_of,
    with_probe,
)
from polyak.planning.result import PlanResult, cell_event, command
from polyak.planning.trials import HoldOut, Trial
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolved import PROBES
from polyak.rundir.events import Event
from polyak.rundir.plan_events import (
    CountsEvent,
    CurveEvent,
    ProbeEvent,
    RowEvent,
)
from polyak.targets import kind_of
from polyak.training.session import Session
from polyak.transfer import cache, folds, planner, probe, ranking
from polyak.transfer.probes import fold_count
from polyak.transfer.ranking import Row
from polyak.transfer.solutions import ProbeCache
from polyak.transfer.tuning import STRATEGIES

PASSES = 3  # over the training images: a fine-tuning that cannot take so many is not begun


class Planner:
    """Measure what each strategy of transfer reaches on some data, and choose.

    Args:
        backbone: with its session, whose `epochs` are those of a whole run.
        asked: the user's own choices, for the command that does what is chosen.
        until: when the trials end, by `time.monotonic()`.
        ends: when training must be over, which decides what is worth beginning.
    """

    def __init__(self, backbone: Backbone, asked: Recipe, until: float, ends: float = float("inf")):
        self.backbone: Backbone = backbone
        self.asked: Recipe = asked
        self.until: float = until
        self.ends: float = ends
        self.session: Session = backbone.session
        self.trials: dict[str, Trial] = {}
        self.rows: dict[str, Row] = {}
        self.turns: list[Row] = []
        self.stages: list[dict[str, Any]] = []
        self.labels: np.ndarray = np.zeros(0, np.int64)  # of all images that measure

    def events(self, known: ProbeResults | None = None) -> Generator[Event, None, PlanResult]:
        """Probe every stage, then try fine-tuning, then choose.

        Args:
            known: the probes, where they were fitted before.
        """
        data = self.session.data
        counts = data.train.dataset.counts().tolist()
        each = dict(zip(data.classes, counts, strict=True))
        yield CountsEvent(each)
        results = known or (yield from fit_probes(self.backbone))
        cell = yield from self._cell(results)
        curve = self._curve(results)
        yield CurveEvent(curve)
        yield from self._probe_rows(results)
        if self.rows and time.monotonic() < self.until:
            yield from self._try(self._holdouts(results))
        chosen, why, facts = self._choose(cell)
        result = PlanResult(
            chosen, why, results, self.rows, cell, each, self.stages, curve, self.turns,
            **facts, command=command(self.asked, chosen),
        )  # fmt: skip
        yield result.event()
        return result

    def _cell(self, results: ProbeResults) -> Generator[Event, None, planner.Cell]:
        """Probe every stage alone, and find the data's place in the lecture's table."""
        train, alone = results.train.dataset, {}
        for name in results.features.widths:
            if name == HEAD:
                alone[name] = results.probes["linear"]
            else:
                alone[name] = ProbeCache(cache.home()).probe(
                    results.features.of([name])[results.read], train.labels, len(train.classes),
                    fold=results.fold,
                )  # fmt: skip
            self.stages.append({"stage": name, **cross_validated(alone[name])})
            yield ProbeEvent(**self.stages[-1], measure=kind_of(train.labels).measure)
        cell = planner.cell(train.labels, alone)
        yield cell_event(cell)
        return cell

    def _curve(self, results: ProbeResults) -> list[dict[str, float]]:
        train = results.train.dataset
        if train.kind.several:  # what a class has of images is no number of each image
            return []
        return planner.curve(
            results.features.of([HEAD])[results.read], train.labels, len(train.classes),
            results.probes["linear"].l2, seed=self.session.resolved.seed, groups=train.groups,
        )  # fmt: skip

    def _probe_rows(self, results: ProbeResults) -> Generator[Event, None, None]:
        """Measure both probes on every image that a trial may be measured on.

        First the held-out ones, then the training images, each by a classifier of cross-validation
        that did not see it.
        """
        val, began = self.session.data.val, time.monotonic() - self.session.clock.elapsed()
        self.labels = results.train.labels
        if val is not None:
            self.labels = np.concatenate([val.labels, self.labels])
        for name in PROBES:
            found = results.probes[name]
            log_probs = [found.log_probs]
            if val is not None:
                held_out = np.full((len(val), len(found.bias)), np.nan, np.float32)
                predicted = yield from predict(self.backbone, val, found, name, "one")
                held_out[predicted.read] = predicted.log_probs
                log_probs = [held_out, *log_probs]
            if not np.isnan(rows := np.concatenate(log_probs)).all():
                yield self._row(Row.of(name, rows, self.labels, time.monotonic() - began))

    def _row(self, row: Row) -> RowEvent:
        self.rows[row.strategy] = row
        self.turns.append(row)
        return RowEvent(**row.as_json(), measure=kind_of(self.labels).measure)

    def _holdouts(self, results: ProbeResults) -> list[HoldOut]:
        """Hold out the validation part, then one fold of the training images after the other."""
        train, val = results.train, self.session.data.val
        best, columns = results.best, results.columns(results.best)

        def start(learnt: np.ndarray | None = None) -> nn.Module:
            if learnt is None:
                return with_probe(self.backbone, results, best).module
            part, names = train.take(learnt).dataset, stages_of(best, results.features)
            count, seed = fold_count(len(part)), self.session.resolved.seed
            fitted = probe(
                columns[learnt], part.labels, len(part.classes),
                fold=folds(part.strata, seed, count, part.groups),
                widths=[results.features.widths[name] for name in names],
            )  # fmt: skip
            return on_top(self.backbone, fitted, names).module

        found, before = [], 0
        if val is not None:
            found, before = [HoldOut(train, val, np.arange(len(val)), start)], len(val)
        fold = results.fold
        for number in np.unique(fold[fold >= 0]):
            learnt, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            begin = partial(start, learnt)
            found.append(HoldOut(train.take(learnt), train.take(out), before + out, begin))
        return found

    def _try(self, holdouts: list[HoldOut]) -> Generator[Event, None, None]:
        """Spread the time over trials of fine-tuning."""

        def turn(name: str, seconds: float) -> Row:
            if name not in self.trials:
                one = self.session.decided(transfer=name, average=(0.0,))
                self.trials[name] = Trial(one, self.backbone.network, holdouts, self.labels)
            return self.trials[name].run(seconds)

        def worth(row: Row) -> float:
            # turns are alike: what each made of its own decides who gets another
            base = ranking.better_probe(self.rows.values())
            return ranking.gain(replace(row, share=1.0), base)

        for row in planner.halving(STRATEGIES, self.until, turn, worth):
            yield self._row(row)

    def _choose(self, cell: planner.Cell) -> tuple[str, str, dict[str, Any]]:
        """Choose a strategy: (its name, why, what to expect of it)."""
        notes, accuracy = [], None
        if self.rows:
            row, why = ranking.choose(self._worth_beginning(), len(self.session.data.train))
            chosen, accuracy = row.strategy, asdict(row.accuracy)
            if row.n < ranking.THIN:
                notes.append(
                    f"evidence is thin: {counted(row.n, 'image')} to judge by; each row's accuracy "
                    f"is known to within {(row.accuracy.high - row.accuracy.low) / 2:.0%} only"
                )
        else:
            chosen, why = cell.strategy, "nothing could be measured: the lecture's cell"
        if not self.trials:
            notes.append(
                "no fine-tuning was tried: the budget was spent, or there is no validation"
            )
        elif len(self._worth_beginning()) < len(self.rows):
            notes.append(
                f"a fine-tuning that sees each image less than {PASSES} times is not begun"
            )
        seconds = self.rows[chosen].seconds if chosen in self.rows else None
        if chosen in self.trials:
            seconds = self._whole_seconds(chosen)
            notes.append(_of_a_whole_run(self.rows[chosen].share))
        return chosen, why, {"notes": tuple(notes), "accuracy": accuracy, "seconds": seconds}

    def _worth_beginning(self) -> list[Row]:
        """The probes, and what can see every image often enough in the time that there is."""
        left = self.ends - time.monotonic()
        batches = max(1, len(self.session.data.train) // self.session.resolved.batch_size)
        least = {name: PASSES * batches * one.step_seconds for name, one in self.trials.items()}
        # a probe is made already, also where no time is left at all
        return [row for name, row in self.rows.items() if name not in least or least[name] <= left]

    def _whole_seconds(self, chosen: str) -> float:
        resolved, images = self.session.resolved, len(self.session.data.train)
        batches = max(1, images // resolved.batch_size)
        return round((resolved.epochs or 1) * batches * self.trials[chosen].step_seconds)


def _of_a_whole_run(share: float) -> str:
    if share < 1:
        return (
            f"its trial was {share:.1%} of a full run: what is expected of the rest is what is "
            "usual; a longer --budget measures it"
        )
    return "a full run learns from more images than its trial: expect a little more"


def plan(
    backbone: Backbone,
    asked: Recipe,
    until: float,
    ends: float = float("inf"),
    known: ProbeResults | None = None,
) -> Generator[Event, None, PlanResult]:
    """Measure what each strategy of transfer reaches, until some time of `time.monotonic()`.

    Args:
        backbone: with its session; the images are decoded.
        asked: the user's own choices.
        until: when the trials end.
        ends: when training must be over, which decides what is worth beginning.
        known: the probes, where they were fitted before.

    >>> from polyak.jobs.command import Command
    >>> from polyak.jobs.open import open_session
    >>> from polyak.recipe import make
    >>> asked = make(data="digits", epochs=1, widths=(8, 8))
    >>> session = open_session(Command.alone(asked))
    >>> events = plan(Backbone(session, session.network()), asked, until=0.0)  # no time for trials
    >>> [event.kind for event in events if event.kept][-3:]
    ['row', 'row', 'plan']
    """
    return (yield from Planner(backbone, asked, until, ends).events(known))
