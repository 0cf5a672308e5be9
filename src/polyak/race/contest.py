"""The race on the user's images: a small sweep for everybody's rate, then seeds side by side."""

import difflib
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from polyak.errors import UsageError, counted
from polyak.networks.compact import REFERENCE
from polyak.race.course import Course, Run
from polyak.race.events import RacedEvent, RaceStartEvent, RaceStepEvent, TriedEvent
from polyak.recipe import recipe as recipes
from polyak.rundir.events import Event
from polyak.training.optimization import OPTIMIZERS
from polyak.training.signals import Stop

SWEEP = (0.1, 1.0, 10.0)  # of each optimizer's usual rate
FINER = 2  # more tries around the best of these
NARROW = tuple(width // 2 for width in REFERENCE)  # four times the steps in the same minutes
SWEEP_SHARE = 0.35  # of the budget
RESERVE = 0.06  # of the budget: page, and what steps cost more than was measured
LATE = 0.5  # of the budget: finer rates that are not begun by then are left out, for all alike
FEWEST = 20  # steps of a run that can tell anything


@dataclass(frozen=True)
class Plan:
    """Say who runs, how often and how long.

    Args:
        optimizers: names.
        seeds: of the race; the sweep has one of its own.
        sweep: factors of each one's usual learning rate.
        sweep_steps: of each run of the sweep.
        steps: of each run of the race.
    """

    optimizers: tuple[str, ...]
    seeds: tuple[int, ...]
    sweep: tuple[float, ...]
    sweep_steps: int
    steps: int

    @property
    def tries(self) -> int:
        """Runs of the sweep for each optimizer."""
        return len(self.sweep) + (FINER if len(self.sweep) > 1 else 0)

    @property
    def work(self) -> int:
        """Steps in all."""
        return len(self.optimizers) * (self.tries * self.sweep_steps + len(self.seeds) * self.steps)


def names(text: str) -> tuple[str, ...]:
    """Read optimizers, separated by commas.

    Raises:
        UsageError: an unknown or repeated one, or none.

    >>> names("sgd, adam")
    ('sgd', 'adam')
    """
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    for name in found:
        if name not in OPTIMIZERS:
            near = difflib.get_close_matches(name, OPTIMIZERS, 1)
            then = f"did you mean {near[0]}?" if near else f"take of {', '.join(OPTIMIZERS)}"
            raise UsageError("no such optimizer", where=name, then=then)
    if not found or len(set(found)) < len(found):
        raise UsageError("name each optimizer once", where="--optimizers", why=text or "none named")
    return found


def finer(best: float, tried: list[float]) -> list[float]:
    """Choose two more rates: around the best, or beyond it where it is an end of those tried.

    >>> [round(rate, 3) for rate in finer(1.0, [0.1, 1.0, 10.0])]
    [0.333, 3.0]
    >>> finer(10.0, [0.1, 1.0, 10.0])
    [30.0, 100.0]
    """
    # rates were rounded when they were tried
    if best > 0.99 * max(tried):
        return [best * 3, best * 10]
    if best < 1.01 * min(tried):
        return [best / 3, best / 10]
    return [best / 3, best * 3]


@dataclass(frozen=True)
class Design:
    """Say how often each optimizer runs.

    Args:
        seeds: of the race, at least 2.
        sweep: factors of each one's usual learning rate that are tried.

    Raises:
        UsageError: too few seeds, or a factor that is not above zero.

    >>> Design(seeds=3).sweep
    (0.1, 1.0, 10.0)
    """

    seeds: int = 5
    sweep: tuple[float, ...] = SWEEP

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise UsageError("two --seeds at least", why="one cannot tell skill from luck")
        if not self.sweep or not all(factor > 0 for factor in self.sweep):
            raise UsageError("each factor of --sweep must be above zero")


class Contest:
    """Race optimizers on images: iterate over `events`, then ask for `sweep` and `runs`.

    Args:
        data: folder, CSV or `digits`.
        optimizers: names of update rules.
        budget: wall clock for all, such as `5m`.
        steps: of each run instead of a budget; the same every time, to the bit.
        design: how often each runs.
        choices: of the recipe, for all: model, size, batch_size, widths, val, seed, device, ...

    Raises:
        UsageError: an impossible choice.

    >>> race = Contest("digits", ("sgd", "adam"), steps=40, design=Design(seeds=3))
    >>> race.plan.tries, race.plan.sweep_steps, race.plan.seeds
    (5, 20, (1, 2, 3))
    """

    def __init__(
        self,
        data: str,
        optimizers: tuple[str, ...],
        *,
        budget: str | None = None,
        steps: int | None = None,
        design: Design = Design(),
        **choices: Any,
    ):
        if (budget is None) == (steps is None):
            raise UsageError("give --budget or --steps, one of them")
        if steps is not None and steps < 1:
            raise UsageError("--steps must be above zero")
        choices.setdefault("model", "compact")
        choices.setdefault("weights", None)  # what was learnt by one rule would favour it
        if choices["model"] == "compact":
            choices.setdefault("widths", NARROW)
        self.recipe: recipes.Recipe = recipes.make(data=data, **choices)
        self.budget: float | None = recipes.make(budget=budget).budget_seconds
        self.began: float = time.monotonic()
        first = self.recipe.seed
        races = tuple(range(first + 1, first + 1 + design.seeds))
        size = steps or FEWEST
        raced = names(",".join(optimizers))
        self.plan: Plan = Plan(raced, races, design.sweep, -(-size // 2), size)
        self.course: Course
        self.sweep: list[dict[str, Any]] = []
        self.rates: dict[str, float] = {}
        self.runs: dict[tuple[str, int], Run] = {}  # by optimizer and seed
        self.signal: int = 0
        self._stop = Stop()
        self._done = 0
        self._swept = self._step_seconds = self._image_seconds = 0.0

    def events(self, began: float | None = None) -> Iterator[Event]:
        """Race, and tell of it; a stop signal ends it early with what is done kept.

        Args:
            began: `time.monotonic()` when the budget began to run; when the contest was made.

        Raises:
            DataError: the data cannot be raced on.
            UsageError: the budget is too short.
        """
        self.began = self.began if began is None else began
        with self._stop:
            course = self.course = Course(self.recipe)
            self._fit(course, swept=False)
            yield self._start(course)
            yield from self._sweep(course)
            self._fit(course, swept=True)
            yield from self._race(course)
            self.signal = self._stop.signal

    def _fit(self, course: Course, swept: bool) -> None:
        """Choose the numbers of steps that the budget has room for."""
        if self.budget is None or self._stop.signal:
            return
        plan, now = self.plan, time.monotonic()
        k = len(self.rates) if swept else len(plan.optimizers)
        tries = 0 if swept else plan.tries
        if swept:  # what steps really took, compilation included
            measured = len(self.sweep) * course.images_measured(sweep=True) * self._image_seconds
            self._step_seconds = max(1e-6, now - self._swept - measured) / max(1, self._done)
        else:
            self._step_seconds, self._image_seconds = course.seconds(
                plan.optimizers[0], self.recipe.seed
            )
            self._swept = now = time.monotonic()
        measured = k * (
            len(plan.seeds) * course.images_measured(sweep=False)
            + tries * course.images_measured(sweep=True)
        )
        spent = now - self.began + RESERVE * self.budget + measured * self._image_seconds
        share, runs = 1.0 if swept else 1 - SWEEP_SHARE, max(1, k * len(plan.seeds))
        affordable = (self.budget - spent) / self._step_seconds
        steps = int(affordable * share / runs)
        if steps < FEWEST and not swept:
            needed = spent + FEWEST * runs / share * self._step_seconds
            raise UsageError(
                "the budget is too short",
                where=f"{self.budget:.0f} s",
                why=f"it has room for {counted(max(0, steps), 'step')} a run, and {FEWEST} tell "
                "something",
                then=f"--budget {math.ceil(needed / 60 * 1.2)}m, or fewer --optimizers or --seeds",
            )
        # no longer than `polyak train` would
        longest = max(FEWEST, round((course.session("sgd").resolved.epochs or 1) * course.epoch))
        steps = min(max(steps, FEWEST), longest)
        each = plan.sweep_steps
        if not swept:
            each = int(affordable * SWEEP_SHARE / (k * plan.tries))
        self.plan = replace(plan, steps=steps, sweep_steps=min(max(each, FEWEST // 2), steps))

    def _start(self, course: Course) -> Event:
        resolved = course.session(self.plan.optimizers[0]).resolved
        dataset = course.data.dataset
        return RaceStartEvent(
            found=dataset.found,
            left_out=len(dataset.quarantine),
            counts={name: len(part) for name, part in course.data},
            classes=len(dataset.classes),
            model=resolved.model,
            batch_size=resolved.batch_size,
            warnings=list(dataset.warnings),
            plan=self.plan,
        )

    def _sweep(self, course: Course) -> Iterator[Event]:
        """Try rates by turns, so that all have as many tries whenever time runs short."""
        names = self.plan.optimizers
        coarse = {
            name: [course.usual_rate(name) * factor for factor in self.plan.sweep] for name in names
        }
        for k in range(len(self.plan.sweep)):
            for name in names:
                yield from self._try(course, name, coarse[name][k])
        best = {name: self._best(name) for name in names}
        fine = {name: finer(rate, coarse[name]) for name, rate in best.items() if rate}
        for k in range(self.plan.tries - len(self.plan.sweep)):
            if self.budget and time.monotonic() - self.began > LATE * self.budget:
                break
            for name, rates in fine.items():
                yield from self._try(course, name, rates[k])
        if not self._stop.signal:
            best = {name: self._best(name) for name in names}
            self.rates = {name: rate for name, rate in best.items() if rate}

    def _try(self, course: Course, name: str, rate: float) -> Iterator[Event]:
        rate = float(f"{rate:.3g}")
        running = course.run(name, rate, self.recipe.seed, self.plan.sweep_steps, sweep=True)
        found = yield from self._steps(running, f"sweep: {name} at {rate:g}")
        if found is None:
            return
        measured = found.validations and not found.diverged
        accuracy = found.validations[-1][1] if measured else None
        nll = found.nll if math.isfinite(found.nll) else None
        row = {"optimizer": name, "learning_rate": rate, "nll": nll, "accuracy": accuracy}
        self.sweep.append(row)
        yield TriedEvent(**row)

    def _best(self, name: str) -> float | None:
        rows = [r for r in self.sweep if r["optimizer"] == name and r["nll"] is not None]
        return min(rows, key=lambda r: r["nll"])["learning_rate"] if rows else None

    def _race(self, course: Course) -> Iterator[Event]:
        longest = 0.0  # seconds of a round so far
        for number, seed in enumerate(self.plan.seeds):
            began = time.monotonic()
            # whole rounds, so that seeds stay paired; two at least, or luck could not be told
            if self.budget and number > 1 and began - self.began + longest > self.budget:
                return
            for name in self.rates:
                running = course.run(name, self.rates[name], seed, self.plan.steps, sweep=False)
                found = yield from self._steps(running, f"seed {seed}: {name}")
                if found is None:
                    return
                self.runs[name, seed] = found
                share = float(found.right.mean())
                yield RacedEvent(seed, name, share, found.diverged)
            longest = max(longest, time.monotonic() - began)

    def _steps(
        self, running: Generator[float, None, Run], title: str
    ) -> Generator[Event, None, Run | None]:
        """Pass a run's steps on; give what came of it, or None where a signal ended it."""
        before, now = self._done, 0
        while True:
            if self._stop.signal:
                running.close()
                return None
            try:
                next(running)
            except StopIteration as end:
                return end.value
            now += 1
            self._done = before + now
            progress = min(1.0, self._done / self.plan.work)
            yield RaceStepEvent(progress, title)

    def rounds(self) -> list[int]:
        """Seeds that every optimizer has run."""
        return [
            seed
            for seed in self.plan.seeds
            if self.rates and all((name, seed) in self.runs for name in self.rates)
        ]

    def right(self) -> dict[str, np.ndarray]:
        """Which images each optimizer got right: bool (seeds, images), of whole rounds."""
        seeds = self.rounds()
        if not seeds:
            return {}
        return {name: np.stack([self.runs[name, s].right for s in seeds]) for name in self.rates}
