"""Which strategy of transfer to choose: what trials say, drawn to what is known before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyak import metrics
from polyak.targets import kind_of

# before anything is measured, shares of the NLL: what fine-tuning takes off the better probe, which
# it starts from and may end as; and more stages off fewer, for every tenfold of enough images
PRIOR_MEAN, PRIOR_STD = 0.06, 0.12
DEEPER, APART = 0.15, 0.05
ENOUGH = 100  # images of all classes: fewer do not pay for more stages
NEAR = 0.01  # nats that a cheaper strategy may cost
THIN = 100  # judging images; fewer cannot tell strategies apart
PROBES = ("linear", "stages")  # known on every training image, by cross-validation
CHEAPEST_FIRST = (*PROBES, "few", "many", "all")


@dataclass(frozen=True)
class Row:
    """What a strategy reached on images that it had not seen, and what it took.

    Args:
        strategy: its name.
        losses: float (n,), each image's negative log-likelihood in nats, NaN where it was not
            asked; the same images in the same order for all strategies.
        accuracy: of those asked, with its interval.
        nll: the same, nats.
        seconds: of training.
        share: of a whole run that was trained, above 0 to 1; a probe is whole.

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
    share: float = 1.0

    @classmethod
    def of(
        cls,
        strategy: str,
        log_probs: np.ndarray,
        labels: np.ndarray,
        seconds: float,
        share: float = 1.0,
    ) -> "Row":
        """Measure log-probabilities (n, K), with rows of NaN for images that were not asked.

        Each strategy is judged at its own temperature, as the model file of a whole run would be.
        """
        asked = ~np.isnan(log_probs).any(1)
        logits, truth = log_probs[asked], labels[asked]
        kind = kind_of(labels)
        temperature = kind.temperature(logits, truth)
        losses = np.full(len(labels), np.nan)
        losses[asked] = kind.losses(kind.log_probs(kind.logits(logits), temperature), truth)
        found = kind.evaluate(kind.probabilities(kind.logits(logits), temperature), truth)
        return cls(strategy, losses, found.first, found.nll, round(seconds, 2), share)

    @property
    def n(self) -> int:
        """How many images judge it."""
        return int((~np.isnan(self.losses)).sum())

    def as_json(self) -> dict[str, Any]:
        """Give plain dictionaries and numbers."""
        both = {name: vars(getattr(self, name)) for name in ("accuracy", "nll")}
        facts = {"seconds": self.seconds, "share": round(self.share, 3), "n": self.n}
        return {"strategy": self.strategy, **both, **facts}


def gain(
    row: Row, base: Row, prior_mean: float = PRIOR_MEAN, prior_std: float = PRIOR_STD
) -> float:
    """Say by how many nats a strategy's NLL is expected to be below another's.

    Both are asked of the same images, so what is hard for both does not blur their difference.
    A few images prove little: what they say is drawn to what was hoped for before. So does a run
    cut short: be the images ever so many, half a run is believed by half.

    Args:
        row: of the one; by default a fine-tuning.
        base: of the other; by default the probe that it starts from.
        prior_mean: what is expected before anything is measured, a share of the other's NLL.
        prior_std: standard deviation of that, the same.

    Source: Gelman et al., "Bayesian Data Analysis", 2013, section 2.5 (normal data, normal prior).

    >>> base = Row.of("linear", np.log([[0.5, 0.5]] * 400), np.zeros(400, int), 1.0)
    >>> probabilities = [[0.7, 0.3]] * 280 + [[0.3, 0.7]] * 120  # as sure as it is right
    >>> row = Row.of("few", np.log(probabilities), np.zeros(400, int), 1.0)
    >>> round(gain(row, base), 3)
    0.08
    """
    both = ~np.isnan(base.losses - row.losses)
    mean, prior = prior_mean * base.nll.value, (prior_std * base.nll.value) ** 2
    if not both.any():
        return mean
    gained, variance = metrics.paired(base.losses[both], row.losses[both])
    # what the rest of the run may change
    variance += prior * (1 / min(row.share, base.share) - 1)
    return (mean * variance + gained * prior) / (variance + prior)


def better_probe(rows: Iterable[Row]) -> Row:
    """Give the probe of least NLL, which every training image judged.

    Raises:
        ValueError: no probe was measured.

    >>> rows = [Row.of(name, np.log([[p, 1 - p]]), np.zeros(1, int), 1.0)
    ...         for name, p in (("linear", 0.6), ("stages", 0.7), ("few", 0.9))]
    >>> better_probe(rows).strategy
    'stages'
    """
    return min((row for row in rows if row.strategy in PROBES), key=lambda row: row.nll.value)


def expectations(rows: Sequence[Row], images: int) -> dict[str, float]:
    """Say by how many nats every strategy is expected to be better than the better probe.

    Fine-tunings begin with the same network and are nearer to one another than to the probe: the
    one that most images judged, or of equals the one nearest to a whole run, is compared with the
    probe, and the others with it. The more images there are to learn from, the more stages they
    pay for: of all classes together, since all share the stages.

    Args:
        rows: each strategy's last measurement.
        images: to learn from.

    Source: slide "Transfer Learning with CNNs": "quite a lot of data: finetune a larger number".

    >>> rows = [Row.of(name, np.full((9, 2), np.log(0.5)), np.zeros(9, int), 1.0)
    ...         for name in ("linear", "few", "many")]
    >>> {name: round(value, 3) for name, value in expectations(rows, 400).items()}
    {'linear': 0.0, 'few': 0.027, 'many': 0.084}
    """
    base = better_probe(rows)
    tuned = [row for row in rows if row.strategy not in PROBES]
    expected = {base.strategy: 0.0}
    if not tuned:
        return expected
    pays = DEEPER * max(0.0, float(np.log10(images / ENOUGH)))
    deeper = {row.strategy: 0.0 if row.strategy == "few" else pays for row in tuned}
    compared = max(tuned, key=lambda row: (row.n, row.share, -_price(row)))
    first = gain(compared, base, PRIOR_MEAN + deeper[compared.strategy])
    expected[compared.strategy] = first
    for row in tuned:
        if row is not compared:
            prior = deeper[row.strategy] - deeper[compared.strategy]
            expected[row.strategy] = first + gain(row, compared, prior, APART)
    return expected


def choose(rows: Sequence[Row], images: int) -> tuple[Row, str]:
    """Take the better probe, or the cheapest fine-tuning that is expected to be better.

    All are compared by NLL, of which each image says more than whether it was right. Of
    strategies that are expected to be within a hundredth of a nat of the best, the cheapest.

    Args:
        rows: each strategy's last measurement.
        images: to learn from.

    Returns:
        (the chosen one, why).

    >>> def row(name, right):
    ...     first = np.where(np.arange(1000) < right, 0.9, 0.1)
    ...     return Row.of(name, np.log([first, 1 - first]).T, np.zeros(1000, int), 1.0)
    >>> rows = [row("linear", 900), row("few", 903), row("many", 960)]
    >>> choose(rows, 50)[0].strategy, choose(rows[:2], 50)[0].strategy
    ('many', 'linear')
    """
    expected = expectations(rows, images)
    most = max(expected.values())
    good = [row for row in rows if expected.get(row.strategy, -np.inf) > most - NEAR]
    chosen, base = min(good, key=_price), better_probe(rows)
    if chosen is base:
        if len(expected) == 1:
            return chosen, "the probe of least NLL"
        return chosen, f"the probe of least NLL; no fine-tuning is expected to gain {NEAR} nats"
    gained = f"{expected[chosen.strategy]:.2f} nats"
    return chosen, f"its NLL is expected to be {gained} below that of {base.strategy}"


def _price(row: Row) -> int:
    return CHEAPEST_FIRST.index(row.strategy)
