"""The planner: which cell of the lecture's table the data falls in, and a budget for trials.

Nothing here trains: it judges probes, and spreads a budget over trials. `choice` chooses.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from polyak import keys
from polyak.networks import HEAD
from polyak.transfer.logistic import Rotation, solve
from polyak.transfer.probes import Probe
from polyak.transfer.ranking import Row

MUCH = 200  # images a class, median: from here on the lecture speaks of quite a lot of data
DRAWS = 3  # of a curve's subsets
CELLS = {
    ("little", "similar"): "linear",
    ("little", "different"): "stages",
    ("much", "similar"): "few",
    ("much", "different"): "many",
}


@dataclass(frozen=True)
class Cell:
    """The place of some data in the lecture's table.

    Args:
        amount: little or much.
        kind: similar to the source or different from it.
        why: in one line.

    >>> Cell("little", "similar", "12 images a class").strategy
    'linear'
    """

    amount: str
    kind: str
    why: str

    @property
    def strategy(self) -> str:
        """What the lecture advises there."""
        return CELLS[self.amount, self.kind]


def images_a_class(labels: np.ndarray) -> int:
    """Count a class's images, the median over classes that have any.

    >>> images_a_class(np.array([0, 0, 0, 1, 3, 3]))
    2
    """
    counts = np.bincount(labels) if labels.ndim == 1 else (labels > 0).sum(0)
    return int(np.median(counts[counts > 0]))


def cell(labels: np.ndarray, by_stage: Mapping[str, Probe]) -> Cell:
    """Find the place of some data: images a class, and the stage that tells the classes apart.

    The later a stage, the more it knows of the source's own classes. Where an earlier one serves
    better than what the source's head read, the data is different from the source.

    Args:
        labels: int (n,), of the training images; of several labels int (n, K).
        by_stage: a probe on each stage alone, "head" among them.

    Source: slide "Transfer Learning with CNNs", the 2x2 table.

    >>> labels = np.repeat([0, 1], 30)
    >>> cell(labels, {"head": Probe(np.zeros(1), np.zeros(1), 1, None, np.zeros(1))}).amount
    'little'
    """
    middle = images_a_class(labels)
    amount = "much" if middle >= MUCH else "little"
    nlls = {name: one.measured.nll.value for name, one in by_stage.items() if one.measured}
    best = min(nlls, key=lambda name: nlls[name], default=HEAD)
    last = list(by_stage)[-2:]  # the head's input, and the maps that it is pooled from
    kind = "similar" if best in last else "different"
    why = f"{middle} images a class (median; much from {MUCH})"
    if nlls:
        why += f"; stage {best} tells them apart best, NLL {nlls[best]:.3f}"
        why += "" if best == HEAD else f" against the head's {nlls[HEAD]:.3f}"
    return Cell(amount, kind, why)


def curve(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    l2: float,
    *,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> list[dict[str, float]]:
    """Say how a probe's accuracy grows with its images a class; the others judge it.

    Args:
        features: float32 (n, D).
        labels: int (n,).
        classes: K.
        l2: strength of the probe.
        seed: of the subsets.
        groups: int (n,): no image judges that has the number of one that was learnt from.

    Returns:
        {"each", "n", "accuracy", "spread"}: images a class at most, images in all, mean and
        standard deviation over DRAWS subsets.

    >>> x, labels = np.array([[-1.0], [1.0]] * 30, np.float32), np.array([0, 1] * 30)
    >>> [point["each"] for point in curve(x, labels, 2, 0.1)]
    [5, 10, 20]
    """
    x = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    counts = np.bincount(labels, minlength=classes)
    groups = np.arange(len(labels)) if groups is None else groups
    points = []
    for each in (size for size in (5, 10, 20, 50, 100, 200, 500) if size < counts.max()):
        reached, n = [], 0
        for draw in range(DRAWS):
            order = np.argsort(keys.keys("curve", seed, draw, np.arange(len(labels))))
            taken = np.concatenate([order[labels[order] == k][:each] for k in range(classes)])
            rest, n = np.flatnonzero(~np.isin(groups, groups[taken])), len(taken)
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
