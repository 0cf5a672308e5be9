"""Learning rates as pure functions of progress: from 0 at the first step to 1 at the last, a factor
of the base rate.

    factor = schedule(progress)

Every schedule is `schedule(progress, **options)`; `functools.partial` fixes the options, `warm_up`
puts a ramp before. There is nothing to save: the rate at step k of n is `base * schedule(k / n)`.
"""

import math
from collections.abc import Callable
from functools import partial

from polyak.errors import UsageError

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Keep the base rate.

    >>> constant(0.7)
    1.0
    """
    return 1.0


def step(
    progress: float, milestones: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1
) -> float:
    """Multiply by `factor` at every milestone (CS231n: 'step decay').

    >>> step(0.49), step(0.5), round(step(0.8), 6)
    (1.0, 0.1, 0.01)
    """
    return factor ** sum(progress >= milestone for milestone in milestones) if milestones else 1.0


def exponential(progress: float, end: float = 1e-3) -> float:
    """Fall by the same ratio in equal times, down to `end` (CS231n: 'exponential decay').

    >>> exponential(0.5, end=0.25), exponential(1.0, end=0.25)
    (0.5, 0.25)
    """
    return end**progress


def inverse(progress: float, k: float = 99.0) -> float:
    """Fall as 1 / (1 + k t) (CS231n: '1/t decay'); the default ends at a hundredth.

    >>> inverse(0.0), inverse(1.0, k=3.0)
    (1.0, 0.25)
    """
    return 1 / (1 + k * progress)


def cosine(progress: float, floor: float = 0.0) -> float:
    """Fall along half a cosine to `floor` (Loshchilov & Hutter 2016).

    >>> cosine(0.0), round(cosine(0.5), 6), cosine(1.0)
    (1.0, 0.5, 0.0)
    """
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def sgdr(
    progress: float,
    cycles: int = 4,
    multiply: float = 1.0,
    floor: float = 0.0,
    restart: float = 1.0,
) -> float:
    """Restart the cosine at the base rate, each cycle `multiply` times as long (slide; Loshchilov &
    Hutter 2016), or at `restart` times the peak of the cycle before.

    A restart below 1 leaves what was learnt standing (Garipov et al. 2018 explore at such rates).
    A snapshot at the end of every cycle is a member of an ensemble (Huang et al. 2017); see
    `cycle_ends`.

    >>> [round(sgdr(progress, cycles=2), 6) for progress in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.5, 1.0, 0.0]
    >>> [round(sgdr(progress, cycles=2, restart=0.2), 6) for progress in (0.0, 0.5, 0.75)]
    [1.0, 0.2, 0.1]
    """
    start = 0.0
    for cycle, end in enumerate(cycle_ends(cycles, multiply)):
        if progress < end:
            return restart**cycle * cosine((progress - start) / (end - start), floor)
        start = end
    return restart ** (cycles - 1) * floor


def cycle_ends(cycles: int = 4, multiply: float = 1.0) -> list[float]:
    """Give the progress at which each cycle of `sgdr` ends; the paper's T_0 is the first, T_mult is
    `multiply`.

    >>> cycle_ends(3, multiply=2.0)
    [0.14285714285714285, 0.42857142857142855, 1.0]
    """
    lengths = [multiply**cycle for cycle in range(cycles)]
    return [sum(lengths[: cycle + 1]) / sum(lengths) for cycle in range(cycles)]


def cyclic(progress: float, cycles: int = 4, floor: float = 0.1) -> float:
    """Rise and fall in triangles between `floor` and the base rate (Smith 2017: 'triangular').

    >>> cyclic(0.0, cycles=2, floor=0.5), cyclic(0.25, cycles=2), cyclic(0.5, cycles=2, floor=0.5)
    (0.5, 1.0, 0.5)
    """
    place = progress * cycles % 1.0
    return floor + (1 - floor) * (1 - abs(2 * place - 1))


def one_cycle(progress: float, peak: float = 0.3, start: float = 0.04, end: float = 4e-6) -> float:
    """Rise once to the base rate at `peak`, then fall to `end`, both along cosines (Smith & Topin
    2018).

    >>> one_cycle(0.0, start=0.25), one_cycle(0.3), one_cycle(1.0, end=0.125)
    (0.25, 1.0, 0.125)
    """
    if progress < peak:
        return cosine(1 - progress / peak, start)
    return cosine((progress - peak) / (1 - peak), end) if peak < 1 else 1.0


def triangular(progress: float, peak: float = 0.23, start: float = 0.2, end: float = 0.07) -> float:
    """Rise to the base rate at `peak` and fall to `end`, both along straight lines (Jordan 2024).

    Source: arXiv 2404.00498, listing 4.

    >>> triangular(0.0), triangular(0.23), round(triangular(1.0), 6)
    (0.2, 1.0, 0.07)
    """
    if progress < peak:
        return start + (1 - start) * progress / peak
    return 1 + (end - 1) * (progress - peak) / (1 - peak) if peak < 1 else 1.0


def wsd(
    progress: float, branches: int = 1, decay: float | None = None, first: float = 0.5
) -> float:
    """Stay at the base rate, then fall as one less a root does: warm-up, stable, decay (Hu et al.
    2024; the shape is Haegele's, 2024).

    With `branches`, every fall but the last is followed by the base rate again, at which training
    goes on from where that fall began; see `branch_spans` and `polyak.ensemble.Trunk`.

    Args:
        progress: in [0, 1].
        branches: how many falls.
        decay: share of the run that each fall takes; 0.2, with branches 0.15, of the run at most
            60 % in all.
        first: share of the trunk that is trained before the first fall.

    >>> wsd(0.5), round(wsd(0.85), 6), wsd(1.0)
    (1.0, 0.5, 0.0)
    >>> [round(wsd(p, branches=2, decay=0.25), 6) for p in (0.2, 0.3125, 0.499, 0.5, 0.99)]
    [1.0, 0.5, 0.002002, 1.0, 0.020204]
    """
    for start, end in branch_spans(branches, decay, first):
        if start <= progress < end:
            return 1.0 - math.sqrt((progress - start) / (end - start))
    return 0.0 if progress >= 1 else 1.0


def branch_spans(
    branches: int = 3, decay: float | None = None, first: float = 0.5
) -> list[tuple[float, float]]:
    """Give the progress at which each fall of `wsd` begins and ends; the last ends with the run.

    Raises:
        UsageError: no branch, or shares that do not fit into a run.

    >>> branch_spans(2, decay=0.25)
    [(0.25, 0.5), (0.75, 1.0)]
    """
    if decay is None:
        decay = 0.2 if branches == 1 else min(0.15, 0.6 / max(1, branches))
    if branches < 1 or not 0 < branches * decay <= 1 or not 0 < first <= 1:
        where = f"branches={branches}, decay={decay:g}, first={first:g}"
        then = "let all falls together take less than the run"
        raise UsageError("no such schedule", where=where, then=then)
    trunk = 1 - branches * decay
    shares = [
        first + (1 - first) * k / (branches - 1) if branches > 1 else 1 for k in range(branches)
    ]
    starts = [trunk * share + k * decay for k, share in enumerate(shares)]
    return [(start, start + decay if k < branches - 1 else 1.0) for k, start in enumerate(starts)]


def warm_up(schedule: Schedule, share: float = 0.05, start: float = 0.0) -> Schedule:
    """Put a straight ramp from `start` before a schedule, which then runs in the rest of the time.

    Args:
        schedule: any function of progress.
        share: of the whole run that the ramp takes.
        start: factor at progress 0, of the schedule's own first value.

    Source: Goyal et al. 2017.

    >>> ramp = warm_up(cosine, share=0.5)
    >>> ramp(0.0), ramp(0.25), ramp(0.5), round(ramp(0.75), 6)
    (0.0, 0.5, 1.0, 0.5)
    """

    def warmed(progress: float) -> float:
        if progress < share:
            return (start + (1 - start) * progress / share) * schedule(0.0)
        return schedule((progress - share) / (1 - share) if share < 1 else 1.0)

    return warmed


def momentum_for(factor: float, low: float = 0.85, high: float = 0.95) -> float:
    """Cycle the momentum against the rate: `low` where the rate's factor is 1, `high` where it is 0
    (Smith 2018).

    >>> momentum_for(1.0), momentum_for(0.0)
    (0.85, 0.95)
    """
    return high - (high - low) * factor


SCHEDULES: dict[str, Callable[..., float]] = {
    one.__name__: one
    for one in (
        constant, step, exponential, inverse, cosine, sgdr, cyclic, one_cycle, triangular,
        wsd,
    )
}  # fmt: skip
BRANCHES = 3  # where nobody says how many: each falls for 15 % of the run
CYCLES = 5  # where nobody says how many: as many snapshots as Huang et al. 2017 tried


def named(
    name: str,
    cycles: int | None = None,
    growth: float = 1.0,
    peak: float = 1.0,
    ramp: float | None = None,
) -> Schedule:
    """Make a schedule from its name and the choices that shape it.

    Args:
        name: of a function of this page.
        cycles: of `sgdr` and `cyclic`; branches of `wsd`.
        growth: length of each cycle of `sgdr` to the one before.
        peak: of each cycle of `sgdr` to the one before.
        ramp: share of the run that a warm-up takes.

    Raises:
        UsageError: there is no such schedule.

    >>> ramped = named("sgdr", cycles=2, ramp=0.5)
    >>> ramped(0.25), round(ramped(0.625), 3), ramped(0.75)
    (0.5, 0.5, 1.0)
    """
    if name not in SCHEDULES:
        then = f"choose of {', '.join(SCHEDULES)}"
        raise UsageError("no such schedule", where=str(name)[:80], then=then)
    made = SCHEDULES[name]
    if name == "sgdr":
        made = partial(made, cycles=cycles or CYCLES, multiply=growth, restart=peak)
    if name == "cyclic":
        made = partial(made, cycles=cycles or CYCLES)
    if name == "wsd":
        made = partial(made, branches=cycles or 1)
    return warm_up(made, ramp) if ramp else made


def named_ends(
    name: str, cycles: int | None = None, growth: float = 1.0, ramp: float | None = None
) -> list[float]:
    """Give the progress at which each cycle of a `named` schedule ends, the run's end included.

    Only the cycles of `sgdr` grow; a schedule that never comes back has none, and `wsd` as many as
    it has branches.

    >>> named_ends("sgdr", cycles=2, growth=3.0), named_ends("cyclic", cycles=2, growth=3.0)
    ([0.25, 1.0], [0.5, 1.0])
    >>> named_ends("cyclic", cycles=2, ramp=0.5), named_ends("cosine")
    ([0.75, 1.0], [])
    """
    if name == "wsd":
        return [end for _, end in named_spans(cycles, ramp)]
    if name not in ("sgdr", "cyclic"):
        return []
    ends = cycle_ends(cycles or CYCLES, growth if name == "sgdr" else 1.0)
    return [_behind(ramp, end) for end in ends]


def named_spans(branches: int | None, ramp: float | None = None) -> list[tuple[float, float]]:
    """Give the progress at which each fall of `wsd` begins and ends; none without branches.

    >>> named_spans(2, ramp=0.5) == [(_behind(0.5, a), _behind(0.5, b)) for a, b in branch_spans(2)]
    True
    """
    spans = branch_spans(branches) if branches else []
    return [(_behind(ramp, start), _behind(ramp, end)) for start, end in spans]


def _behind(ramp: float | None, progress: float) -> float:
    """Give the progress of a run whose schedule begins after a ramp."""
    return (ramp or 0.0) + (1 - (ramp or 0.0)) * progress
