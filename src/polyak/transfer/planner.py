"""The planner: which cell of the lecture's table the data falls in, and what measured trials say.

Nothing here trains: it judges probes, spreads a budget over trials, and chooses from a table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from polyak import keys, metrics
from polyak.networks import HEAD
from polyak.transfer.logistic import Rotation, solve
from polyak.transfer.probes import Probe

MUCH = 200  # pictures a class, median: from here on the lecture speaks of quite a lot of data
THIN = 100  # held-out pictures; fewer cannot tell strategies apart
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
    """What a strategy reached, and what it took.

    Args:
        strategy: its name.
        accuracy: with its interval.
        nll: with its interval, nats.
        seconds: of training.
        n: held-out pictures.

    >>> one = metrics.wilson(90, 100)
    >>> Row("linear", one, metrics.Estimate(0.3, 0.2, 0.4), 1.5, 100).as_json()["seconds"]
    1.5
    """

    strategy: str
    accuracy: metrics.Estimate
    nll: metrics.Estimate
    seconds: float
    n: int

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
    arms: Sequence[str], seconds: float, trial: Callable[[str, float], Row]
) -> Iterator[Row]:
    """Spread a budget over trials: all get a turn, the better half a longer one, and so on.

    Args:
        arms: names of the strategies.
        seconds: for all trials together.
        trial: goes on with a strategy for some seconds and measures it.

    Source: Karnin, Koren, Somekh, "Almost optimal exploration in multi-armed bandits", 2013.

    >>> def row(arm, given):
    ...     return Row(arm, metrics.wilson(len(arm), 9), metrics.wilson(1, 9), given, 9)
    >>> [(one.strategy, one.seconds) for one in halving(["a", "bb", "ccc"], 60, row)]
    [('a', 10.0), ('bb', 10.0), ('ccc', 10.0), ('ccc', 15.0), ('bb', 15.0)]
    """
    rounds = max(1, int(np.ceil(np.log2(max(2, len(arms))))))
    left = list(arms)
    for _ in range(rounds):
        rows = []
        for arm in left:
            rows.append(trial(arm, seconds / rounds / len(left)))
            yield rows[-1]
        rows.sort(key=lambda row: (-row.accuracy.value, row.nll.value))
        left = [row.strategy for row in rows[: -(-len(rows) // 2)]]


def choose(rows: Sequence[Row], advised: str = "") -> tuple[Row, str]:
    """Take the cheapest strategy that the best one does not beat by more than chance.

    Where fewer than THIN pictures judge, chance allows nearly everything: the lecture's cell, which
    all training pictures speak for, then decides among what it allows.

    Args:
        rows: each strategy's last measurement, on the same held-out pictures.
        advised: the lecture's strategy for such data.

    Returns:
        (the chosen one, why).

    >>> rows = [Row(name, metrics.wilson(right, 1000), metrics.wilson(1, 9), 1.0, 1000)
    ...         for name, right in (("linear", 900), ("few", 905), ("many", 960))]
    >>> choose(rows)[0].strategy, choose(rows[:2])[0].strategy
    ('many', 'linear')
    """
    best = max(rows, key=lambda row: (row.accuracy.value, -row.nll.value))
    share, n = best.accuracy.value, best.n
    slack = (max(share * (1 - share), 1 / n) / n) ** 0.5
    good = [row for row in rows if row.accuracy.value >= share - slack]
    for row in good if n < THIN else ():
        if row.strategy == advised:
            return row, f"the lecture's cell; {n} held-out pictures cannot tell it from the best"
    chosen = min(good, key=lambda row: CHEAPEST_FIRST.index(row.strategy))
    if chosen is best:
        return chosen, "the best measured"
    why = f"the cheapest within one standard error ({slack:.1%}) of the best, {best.strategy}"
    return chosen, why
