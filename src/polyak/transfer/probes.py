"""Probes: how well a linear classifier does on frozen features, and how that grows with the data.

The strength of L2 is chosen by cross-validation, which also gives the figures: every image is
judged by a classifier that did not see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from polyak import metrics
from polyak.data.folds import FOLDS, folds
from polyak.targets import kind_of, strata
from polyak.transfer.logistic import Rotation, solve

STRENGTHS = tuple(10 ** (power / 2) for power in range(2, -9, -1))  # 10 to 1e-4, halves of decades
FEWER_FOLDS, MANY = 3, 1000  # from so many images on three folds are enough
WORSE = 1.02  # a weaker strength whose NLL is so much above the best ends the search
FIRST, LAST = 1e-3, 1e-5  # tolerances: of the search, of the solution that is kept


@dataclass(frozen=True)
class Probe:
    """A linear classifier on frozen features.

    Args:
        weight: float32 (K, D), on the features as they are.
        bias: float32 (K,).
        l2: its strength, for standardised features.
        measured: accuracy and NLL by cross-validation; None where no class has two images.
        log_probs: float32 (n, K), of the training images by classifiers that did not see them; NaN
            where none could.

    >>> Probe(np.eye(2), np.zeros(2), 0.1, None, np.zeros((0, 2))).logits(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    weight: np.ndarray
    bias: np.ndarray
    l2: float
    measured: metrics.Evaluation | None
    log_probs: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Judge features (N, D): (N, K)."""
        return features @ self.weight.T + self.bias

    def balanced(self, shares: np.ndarray) -> "Probe":
        """Let each class count alike: logits without the logarithm of its share of the images.

        Weights in the loss, or images drawn more often, lead to the same where the classes follow
        the model; for a linear classifier with a free bias, the logits that training adds to are
        these to the last digit.

        Args:
            shares: float (K,), of each class among the training images.

        Source: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.

        >>> odds = np.log([[0.75, 0.25]])
        >>> one = Probe(np.zeros((2, 1)), odds[0], 0.1, None, odds)
        >>> np.exp(one.balanced(np.array([0.75, 0.25])).log_probs).round(3).tolist()
        [[0.5, 0.5]]
        """
        prior = np.log(shares).astype(np.float32)
        bias = (self.bias - prior).astype(np.float32)
        log_probs = metrics.log_softmax(self.log_probs - prior)
        return replace(self, bias=bias, log_probs=log_probs)


def probe(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    seed: int = 0,
    widths: Sequence[int] = (),
    fold: np.ndarray | None = None,
) -> Probe:
    """Fit multinomial logistic regression, its L2 strength by cross-validation.

    Args:
        features: float32 (n, D), finite.
        labels: int64 (n,); of several labels an image int (n, K), as `SeveralLabels` has them.
        classes: K.
        seed: of the folds.
        widths: columns of each stage, where the features are of several.
        fold: int (n,), of cross-validation, -1 for what is never held out, as `folds` deals them;
            None deals every class evenly.

    Source: the lecture's table, "linear classifier on top"; Bishop 2006, section 4.3.4.

    >>> x, labels = np.array([[-1.0], [1.0]] * 9, np.float32), np.array([0, 1] * 9)
    >>> found = probe(x, labels, 2)
    >>> found.measured.accuracy.value, found.logits(x).argmax(1)[:4].tolist()
    (1.0, [0, 1, 0, 1])
    """
    rows = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    known = torch.from_numpy(np.asarray(labels, np.int64))
    rotation = Rotation.of(rows, widths)
    x = rotation(rows)
    part = folds(strata(labels), seed, fold_count(len(x))) if fold is None else np.asarray(fold)
    l2, log_probs, near = _validated(x, known, part, rotation.spread, classes)
    weight, bias = _solution(x, known, l2, rotation.spread, classes, near)
    weight, bias = rotation.folded(weight, bias)
    return Probe(weight.numpy(), bias.numpy(), l2, measured(log_probs, labels), log_probs)


def measured(log_probs: np.ndarray, labels: np.ndarray) -> metrics.Evaluation | None:
    """Measure log-probabilities (n, K) where there are any; rows of NaN were not held out.

    >>> measured(np.log([[0.9, 0.1], [np.nan, np.nan]]), np.array([0, 1])).n
    1
    """
    seen = ~np.isnan(log_probs).any(1)
    return (
        kind_of(labels).evaluate(np.exp(log_probs[seen]), np.asarray(labels)[seen])
        if seen.any()
        else None
    )


def fold_count(images: int) -> int:
    """Say into how many folds so many images are dealt.

    >>> fold_count(100), fold_count(10_000)
    (5, 3)
    """
    return FOLDS if images < MANY else FEWER_FOLDS


def _validated(x, labels, part, spread, classes):
    """Choose the strength of least held-out NLL.

    Returns:
        (strength, held-out log-probabilities, the folds' mean solution or None).
    """
    best, chosen, log_probs = np.inf, 0.1, np.full((len(x), classes), np.nan, np.float32)
    used = np.unique(part[part >= 0])
    if len(used) < 2:
        return chosen, log_probs, None
    held = torch.from_numpy(part[None] == used[:, None])  # (folds, n): all folds are solved at once
    judged, solution, near = np.flatnonzero(part >= 0), None, None
    kind = kind_of(labels)
    for strength in STRENGTHS:  # each starts from the stronger one before
        l2 = torch.full((len(used),), strength)
        masks = (~held).to(x.dtype)
        solution = solve(x, labels, masks, l2, spread, classes, tolerance=FIRST, start=solution)
        out = np.full_like(log_probs, np.nan)
        for rows, weight, bias in zip(held, *solution, strict=True):
            out[rows.numpy()] = kind.log_probs(x[rows] @ weight + bias).numpy()
        nll = float(kind.losses(out[judged], labels.numpy()[judged]).mean())
        if nll < best:
            best, chosen, log_probs = nll, strength, out
            near = tuple(one.mean(0, keepdim=True) for one in solution)
        if nll > WORSE * best:
            break
    return chosen, log_probs, near


def _solution(x, labels, l2, spread, classes, near):
    """Solve one strength on all images, in double precision, from what the folds found."""
    masks, strengths = torch.ones(1, len(x)).double(), torch.tensor([l2]).double()
    weight, bias = solve(
        x.double(), labels, masks, strengths, spread.double(), classes, tolerance=LAST,
        start=near and tuple(one.double() for one in near),
    )  # fmt: skip
    return weight[0].float(), bias[0].float()
