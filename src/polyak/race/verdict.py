"""Which optimizer is better, as far as seeds and images can tell.

Every optimizer is measured on the same images with the same seeds. A figure varies with both: the
variance of a mean is that over seeds plus that over images (crossed random effects), with
Satterthwaite's degrees of freedom. What a seed does to one image is counted twice, so intervals
are a little too wide, never too narrow. Differences are taken seed by seed and image by image,
so that what is hard for all cancels.
Sources: Satterthwaite 1946; Owen, "The pigeonhole bootstrap", 2007; Hsu, "Simultaneous confidence
intervals for all distances from the best", 1981.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from polyak.metrics import Estimate, wilson
from polyak.metrics.figures import LEVEL


def crossed(values: np.ndarray, level: float = LEVEL) -> Estimate:
    """Mean of (seeds, images) with its interval; of one seed, the images' share alone.

    >>> crossed(np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])).value
    0.375
    """
    from scipy.stats import t

    shares = []  # (variance of the mean, degrees of freedom)
    for means in (values.mean(1), values.mean(0)):
        if len(means) > 1:
            shares.append((float(means.var(ddof=1)) / len(means), len(means) - 1))
    variance = sum(share for share, _ in shares)
    mean = float(values.mean())
    if not variance:
        return Estimate(mean, mean, mean)
    freedom = variance**2 / sum(share**2 / n for share, n in shares)
    reach = float(t.ppf((1 + level) / 2, freedom)) * variance**0.5
    return Estimate(mean, mean - reach, mean + reach)


def accuracy(right: np.ndarray) -> Estimate:
    """Accuracy of (seeds, images) with its 95 % interval, never narrower than Wilson's.

    >>> print(accuracy(np.ones((3, 100), bool)))
    1.0000 (0.9630 to 1.0000)
    """
    found = crossed(right.astype(float))
    floor = wilson(round(found.value * right.shape[1]), right.shape[1])
    low, high = min(found.low, floor.low), max(found.high, floor.high)
    return _within(Estimate(found.value, low, high), 0.0)


def _within(found: Estimate, lowest: float) -> Estimate:
    return Estimate(found.value, max(lowest, found.low), min(1.0, found.high))


@dataclass(frozen=True)
class Verdict:
    """What the comparison supports.

    Args:
        best: the optimizer with the highest mean accuracy.
        behind: by how much each other is behind it: intervals that hold together at 95 %.
        no_difference: those whose interval includes no difference.
        worse: those that are behind for certain.
        text: the recommendation, or that no difference was found.
    """

    best: str
    behind: dict[str, Estimate]
    no_difference: list[str]
    worse: list[str]
    text: str

    def as_json(self) -> dict[str, Any]:
        """Give plain dictionaries and numbers."""
        return asdict(self)


def compared(right: dict[str, np.ndarray]) -> Verdict:
    """Compare the best with every other: bool (seeds, images) by optimizer, all alike in shape.

    With k optimizers each of the k - 1 intervals is at 1 - 0.05 / (k - 1), so that all hold
    together, whichever came out best (Hsu 1981, with Bonferroni's factor for Dunnett's).

    >>> images = np.arange(200)
    >>> good, bad = np.tile(images % 10 > 0, (3, 1)), np.tile(images % 2 > 0, (3, 1))
    >>> compared({"sgd": bad, "adam": good}).text
    'adam: better than every other.'
    >>> compared({"sgd": good, "adam": good}).text
    'No difference found between sgd and adam.'
    """
    order = sorted(right, key=lambda name: -right[name].mean())  # ties keep the given order
    best, others = order[0], order[1:]
    level = 1 - (1 - LEVEL) / max(1, len(others))
    behind = {
        name: _within(crossed(right[best].astype(float) - right[name], level), -1.0)
        for name in others
    }
    no_difference = [name for name in others if behind[name].low <= 0]
    worse = [name for name in others if behind[name].low > 0]
    seeds = right[best].shape[0]
    return Verdict(best, behind, no_difference, worse, _text(best, no_difference, worse, seeds))


def _text(best: str, no_difference: list[str], worse: list[str], seeds: int) -> str:
    if not (no_difference or worse):
        return f"{best} ran alone: there is nothing to compare."
    if seeds < 2:
        return f"One seed cannot tell skill from luck; {best} was ahead in it."
    if not no_difference:
        return f"{best}: better than every other."
    if not worse:
        return f"No difference found between {listed([best, *no_difference])}."
    ahead = f"{best} was ahead, but no difference was found to {listed(no_difference)}"
    return f"{ahead}; {listed(worse)} did worse."


def listed(names: list[str]) -> str:
    """Join words as people do.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
