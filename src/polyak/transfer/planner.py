"""The planner: which cell of the lecture's table the data falls in, and what measured trials say.

Nothing here trains: it judges probes, spreads a budget over trials, and chooses from a table.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from polyak import keys, metrics
from polyak.networks import HEAD
from polyak.transfer.logistic import Rotation, solve
from polyak.transfer.probes import Probe

MUCH = 200  # pictures a class, median: from here on the lecture speaks of quite a lot of data
THIN = 100  # judging pictures; fewer cannot tell strategies apart
# what fine-tuning gains on the better probe before anything is measured, nats: it starts from that
# probe and may end as it, so it rather gains than loses
HOPE, SPREAD = 0.05, 0.2
PROBES = ("linear", "stages")  # known on every training picture, by cross-validation
NEAR = 0.01  # nats that a cheaper strategy may cost
DRAWS = 3  # of a curve's subsets
CELLS = {
    ("little", "similar"): "linear",
    ("little", "different"): "stages",
    ("much", "similar"): "few",
    ("much", "different"): "many",
}
CHEAPEST_FIRST = ("linear", "stages", "few", "many", "all")


@dataclass(frozen=True)
class Cell:
    """The place of some data in the lecture's table.

    Args:
        amount: little or much.
        kind: similar to the source or different from it.
        why: in one line.

    >>> Cell("little", "similar", "12 pictures a class").strategy
    'linear'
    """

    amount: str
    kind: str
    why: str

    @property
    def strategy(self) -> str:
        """What the lecture advises there."""
        return CELLS[self.amount, self.kind]


@dataclass(frozen=True)
class Row:
    """What a strategy reached on pictures that it had not seen, and what it took.

    Args:
        strategy: its name.
        losses: float (n,), each picture's negative log-likelihood in nats, NaN where it was not
            asked; the same pictures in the same order for all strategies.
        accuracy: of those asked, with its interval.
        nll: the same, nats.
        seconds: of training.

    >>> logs = np.log([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]])
    >>> row = Row.of("linear", logs, np.array([0, 0, 1]), 1.5)
    >>> row.n, row.accuracy.value, row.as_json()["seconds"]
    (2, 0.5, 1.5)
    """

    strategy: str
    losses: np.ndarray
    accuracy: metrics.Estimate
    nll: metrics.Estimate
    seconds: float

    @classmethod
    def of(cls, strategy: str, logs: np.ndarray, labels: np.ndarray, seconds: float) -> "Row":
        """Measure log-probabilities (n, K), with rows of NaN for pictures that were not asked."""
        asked = ~np.isnan(logs).any(1)
        losses = -logs[np.arange(len(labels)), labels]  # NaN where it was not asked
        found = metrics.evaluate(np.exp(logs[asked]), labels[asked])
        return cls(strategy, losses, found.accuracy, found.nll, round(seconds, 2))

    @property
    def n(self) -> int:
        """How many pictures judge it."""
        return int((~np.isnan(self.losses)).sum())

    def as_json(self) -> dict[str, Any]:
        """Give plain dictionaries and numbers."""
        both = {name: vars(getattr(self, name)) for name in ("accuracy", "nll")}
        return {"strategy": self.strategy, **both, "seconds": self.seconds, "n": self.n}


def cell(labels: np.ndarray, by_stage: Mapping[str, Probe]) -> Cell:
    """Find the place of some data: pictures a class, and the stage that tells the classes apart.

    The later a stage, the more it knows of the source's own classes. Where an earlier one serves
    better than what the source's head read, the data is different from the source.

    Args:
        labels: int (n,), of the training pictures.
        by_stage: a probe on each stage alone, "head" among them.

    Source: slide "Transfer Learning with CNNs", the 2x2 table.

    >>> labels = np.repeat([0, 1], 30)
    >>> cell(labels, {"head": Probe(np.zeros(1), np.zeros(1), 1, None, np.zeros(1))}).amount
    'little'
    """
    counts = np.bincount(labels)
    middle = int(np.median(counts[counts > 0]))
    amount = "much" if middle >= MUCH else "little"
    said = {name: one.measured.nll.value for name, one in by_stage.items() if one.measured}
    best = min(said, key=lambda name: said[name], default=HEAD)
    last = list(by_stage)[-2:]  # the head's input, and the maps that it is pooled from
    kind = "similar" if best in last else "different"
    why = f"{middle} pictures a class (median; much from {MUCH})"
    if said:
        why += f"; stage {best} tells them apart best, NLL {said[best]:.3f}"
        why += "" if best == HEAD else f" against the head's {said[HEAD]:.3f}"
    return Cell(amount, kind, why)


def curve(
    features: np.ndarray, labels: np.ndarray, classes: int, l2: float, *, seed: int = 0
) -> list[dict[str, float]]:
    """Say how a probe's accuracy grows with its pictures a class; the others judge it.

    Args:
        features: float32 (n, D).
        labels: int (n,).
        classes: K.
        l2: strength of the probe.
        seed: of the subsets.

    Returns:
        {"each", "n", "accuracy", "spread"}: pictures a class at most, pictures in all, mean and
        standard deviation over DRAWS subsets.

    >>> x, labels = np.array([[-1.0], [1.0]] * 30, np.float32), np.array([0, 1] * 30)
    >>> [point["each"] for point in curve(x, labels, 2, 0.1)]
    [5, 10, 20]
    """
    x = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    counts = np.bincount(labels, minlength=classes)
    points = []
    for each in (size for size in (5, 10, 20, 50, 100, 200, 500) if size < counts.max()):
        reached, n = [], 0
        for draw in range(DRAWS):
            order = np.argsort(keys.keys("curve", seed, draw, np.arange(len(labels))))
            taken = np.concatenate([order[labels[order] == k][:each] for k in range(classes)])
            rest, n = np.setdiff1d(order, taken), len(taken)
            if not len(rest):
                continue
            rotation = Rotation.of(x[taken])
            weight, bias = solve(
                rotation(x[taken]), torch.from_numpy(labels[taken]), torch.ones(1, len(taken)),
                torch.tensor([l2]), rotation.spread, classes, tolerance=1e-3,
            )  # fmt: skip
            judged = (rotation(x[rest]) @ weight[0] + bias[0]).argmax(1).numpy()
            reached.append(float((judged == labels[rest]).mean()))
        if reached:
            points.append({
                "each": each, "n": n, "accuracy": float(np.mean(reached)),
                "spread": float(np.std(reached)),
            })  # fmt: skip
    return points


def halving(
    arms: Sequence[str],
    until: float,
    trial: Callable[[str, float], Row],
    worth: Callable[[Row], float],
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Row]:
    """Spread what is left of a budget over trials: all get a turn, the better half a longer one.

    Args:
        arms: names of the strategies.
        until: when all trials must be over, by `now`.
        trial: goes on with a strategy for some seconds and measures it.
        worth: of a row; the better ones get another turn.
        now: the clock, seconds.

    Source: Karnin, Koren, Somekh, "Almost optimal exploration in multi-armed bandits", 2013.

    >>> clock, worth = iter([0, 10, 20, 30, 45]), {"a": 1, "bb": 2, "ccc": 3}.get
    >>> list(halving(["a", "bb", "ccc"], 60, lambda *turn: turn[0], worth, lambda: next(clock)))
    ['a', 'bb', 'ccc', 'ccc', 'bb']
    """
    left = list(arms)
    rounds = max(1, int(np.ceil(np.log2(max(2, len(arms))))))
    for later in reversed(range(rounds)):
        rows = {}
        for turn, arm in enumerate(left):
            turns = len(left) - turn + later * len(left)  # a round is as long as any other
            rows[arm] = trial(arm, (until - now()) / turns)
            yield rows[arm]
        left.sort(key=lambda arm: -worth(rows[arm]))
        left = left[: -(-len(left) // 2)]


def gain(row: Row, base: Row) -> float:
    """Say by how many nats a fine-tuning's NLL is expected to be below that of its probe.

    Both are asked of the same pictures, so what is hard for both does not blur their difference.
    A few pictures prove little: what they say is drawn to what was hoped for before.

    Args:
        row: of the fine-tuning.
        base: of the probe that it starts from.

    Source: Gelman et al., "Bayesian Data Analysis", 2013, section 2.5 (normal data, normal prior).

    >>> base = Row.of("linear", np.log([[0.5, 0.5]] * 400), np.zeros(400, int), 1.0)
    >>> row = Row.of("few", np.log([[0.7, 0.3]] * 400), np.zeros(400, int), 1.0)
    >>> round(gain(row, base), 3)
    0.336
    """
    both = ~np.isnan(base.losses - row.losses)
    if not both.any():
        return HOPE
    gained, doubt = metrics.paired(base.losses[both], row.losses[both])
    return (HOPE * doubt + gained * SPREAD**2) / (doubt + SPREAD**2)


def better_probe(rows: Iterable[Row]) -> Row:
    """Give the probe of least NLL, which every training picture judged.

    Raises:
        ValueError: no probe was measured.

    >>> rows = [Row.of(name, np.log([[p, 1 - p]]), np.zeros(1, int), 1.0)
    ...         for name, p in (("linear", 0.6), ("stages", 0.7), ("few", 0.9))]
    >>> better_probe(rows).strategy
    'stages'
    """
    return min((row for row in rows if row.strategy in PROBES), key=lambda row: row.nll.value)


def choose(rows: Sequence[Row]) -> tuple[Row, str]:
    """Take the better probe, or the cheapest fine-tuning that is expected to be better.

    All are compared by NLL, of which each picture says more than whether it was right. Of
    strategies that are expected to be within a hundredth of a nat of the best, the cheapest.

    Args:
        rows: each strategy's last measurement.

    Returns:
        (the chosen one, why).

    >>> def row(name, right):
    ...     said = np.where(np.arange(1000) < right, 0.9, 0.1)
    ...     return Row.of(name, np.log([said, 1 - said]).T, np.zeros(1000, int), 1.0)
    >>> rows = [row("linear", 900), row("few", 903), row("many", 960)]
    >>> choose(rows)[0].strategy, choose(rows[:2])[0].strategy
    ('many', 'linear')
    """
    base = better_probe(rows)
    tuned = [row for row in rows if row.strategy not in PROBES]
    expected = {base.strategy: 0.0} | {row.strategy: gain(row, base) for row in tuned}
    best = max((base, *tuned), key=lambda row: expected[row.strategy])
    over = expected[best.strategy]
    good = [row for row in (base, *tuned) if expected[row.strategy] > over - NEAR]
    chosen = min(good, key=lambda row: CHEAPEST_FIRST.index(row.strategy))
    if chosen is base:
        if not tuned:
            return chosen, "the probe of least NLL"
        return chosen, f"the probe of least NLL; no fine-tuning is expected to gain {NEAR} nats"
    gained = f"{expected[chosen.strategy]:.2f} nats"
    return chosen, f"its NLL is expected to be {gained} below that of {base.strategy}"
