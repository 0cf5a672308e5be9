"""Logistic regression, of one label or of several: many folds and strengths solved together by
L-BFGS.

minimise   mean(-log softmax(X W + b)[label]) + l2 / 2 * sum(W * W)
or         mean(sum(-log sigmoid(+-(X W + b)))) + l2 / 2 * sum(W * W),   of several labels

The Hessian is never larger than  1/2 X'X / n + l2  (Boehning 1992; of several labels 1/4), which is
diagonal in the directions of X's singular vectors: there its inverse is the start of L-BFGS, and a
step by it alone always goes down, so no line search is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 10  # pairs of steps and changes of gradient that L-BFGS remembers
TYPICAL = 5  # images' worth of belief that a feature varies as much as its neighbours do


@dataclass(frozen=True)
class Rotation:
    """Standardise features and turn them to their singular vectors: exact, and never wider than n.

    A few images hardly tell how much a feature varies. One that they happen to agree in would be
    blown up, and the next image judged by it alone; so each variance is drawn to its stage's
    mean by as much as TYPICAL images would say.

    Args:
        mean: (D,).
        scale: (D,), what each feature is divided by.
        directions: (D, R).
        spread: (R,), mean square along each direction.

    >>> turned = Rotation.of(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    >>> turned.scale.tolist(), turned.spread.shape
    ([1.0, 1.0], torch.Size([1]))
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor
    spread: Tensor

    @classmethod
    def of(cls, features: Tensor, widths: Sequence[int] = ()) -> "Rotation":
        """Measure features (n, D); `widths` are the stages' numbers of columns, else all is one."""
        mean = features.mean(0)
        centred = features - mean
        n, width = centred.shape
        variance = centred.square().mean(0)
        # a feature that never changes says nothing, of its neighbours either
        alive = variance.sqrt() > 1e-6 * (1 + mean.abs())
        parts = list(widths) or width
        for own, live in zip(variance.split(parts), alive.split(parts), strict=True):
            own.lerp_(own[live].mean(), TYPICAL / (n + TYPICAL))
        scale = torch.where(alive, variance.sqrt(), torch.ones_like(variance))
        centred = centred / scale
        wide = centred.double()
        squares, vectors = torch.linalg.eigh(wide @ wide.T if n < width else wide.T @ wide)
        squares = squares.clamp(min=1e-30)  # of features that never change
        kept = squares > 1e-9 * squares[-1]
        squares, vectors = squares[kept], vectors[:, kept]
        directions = wide.T @ (vectors / squares.sqrt()) if n < width else vectors
        return cls(mean, scale, directions.to(features.dtype), (squares / n).to(features.dtype))

    def __call__(self, features: Tensor) -> Tensor:
        """Turn features (n, D) to (n, R)."""
        return (features - self.mean) / self.scale @ self.directions

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Write a solution (R, K), (K,) as a linear layer on the raw features: (K, D), (K,)."""
        raw = (self.directions @ weight) / self.scale[:, None]
        return raw.T.contiguous(), bias - self.mean @ raw


def solve(
    x: Tensor,
    labels: Tensor,
    masks: Tensor,
    l2: Tensor,
    spread: Tensor,
    classes: int,
    *,
    tolerance: float = 1e-4,
    steps: int = 500,
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Solve B problems on the same images at once.

    Args:
        x: (n, R), from a `Rotation`.
        labels: int64 (n,); of several labels an image (n, K), below 0 where nobody knows.
        masks: (B, n), 1 where an image takes part in a problem.
        l2: (B,), strength of each problem.
        spread: (R,), mean square of each column of x.
        classes: K.
        tolerance: the largest entry of the scaled gradient that counts as zero.
        steps: at most so many.
        start: (weights, biases) to begin with; else zero and the classes' frequencies.

    Returns:
        (weights (B, R, K), biases (B, K)).

    >>> x, labels = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    >>> weight, bias = solve(x, labels, torch.ones(1, 2), torch.tensor([0.1]), torch.ones(1), 2)
    >>> bool(weight[0, 0, 1] > 0), bool(bias.abs().max() < 1e-6)
    (True, True)
    """
    kind = _Problem if labels.ndim == 1 else _SeveralLabels
    problem = kind(x, labels, masks, l2, spread, classes)
    w = problem.start() if start is None else torch.cat([start[0], start[1][:, None]], 1)
    value, gradient = problem.look(w)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    noise = 8 * torch.finfo(x.dtype).eps  # what rounding alone may do to a value
    for _ in range(steps):
        if float((gradient * problem.inverse.sqrt()).abs().amax()) < tolerance:
            break
        step = -_direction(gradient, problem.inverse, history)
        new_value, new_gradient = problem.look(w + step)
        # a problem whose step went up takes the one that cannot
        worse = ~(new_value <= value + noise * value.abs())
        if bool(worse.any()):
            safe = -problem.inverse * gradient
            step = torch.where(worse[:, None, None], safe, step)
            new_value, new_gradient = problem.look(w + step)
        change = new_gradient - gradient
        curvature = (step * change).sum((1, 2))
        least = noise * (step.square().sum((1, 2)) * change.square().sum((1, 2))).sqrt()
        rho = torch.where(curvature > least, 1 / curvature, 0 * curvature)
        history = [*history, (step, change, rho[:, None, None])][-MEMORY:]
        w, value, gradient = w + step, new_value, new_gradient
    return w[:, :-1], problem.biases(w[:, -1])


class _Problem:
    """Value and gradient of B problems; the last row of the weights is the bias."""

    bound = 0.5  # of the second derivative by a logit

    def __init__(self, x, labels, masks, l2, spread, classes):
        self.x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        self.labels, self.classes = labels, classes
        self.share = (masks / masks.sum(1, keepdim=True)).T.contiguous()  # (n, B)
        penalty = l2[:, None].repeat(1, len(spread) + 1)
        penalty[:, -1] = 0
        self.penalty = penalty[:, :, None]
        spread = torch.cat([spread, torch.ones_like(spread[:1])])
        # rows left out make the rest weigh more
        heavier = (masks.shape[1] / masks.sum(1))[:, None, None]
        self.inverse = 1 / (self.bound * heavier * spread[None, :, None] + self.penalty + 1e-9)
        self.target = self.targets()

    def targets(self) -> Tensor:
        """Write the labels as numbers: (n, K)."""
        return torch.nn.functional.one_hot(self.labels, self.classes).to(self.x.dtype)

    def biases(self, found: Tensor) -> Tensor:
        """Give the biases (B, K) that are kept: a softmax forgets what they have in common."""
        return found - found.mean(1, keepdim=True)

    def start(self) -> Tensor:
        """Zero weights, biases of the frequencies: the best that knows no image."""
        counts = self.share.T @ self.target + 1e-4
        w = self.x.new_zeros(self.share.shape[1], self.x.shape[1], self.classes)
        w[:, -1] = counts.log()
        return w

    def look(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Value (B,) and gradient of w (B, R + 1, K)."""
        problems, width, classes = w.shape
        flat = w.permute(1, 0, 2).reshape(width, problems * classes)
        logs = (self.x @ flat).view(-1, problems, classes).log_softmax(2)
        chosen = logs.gather(2, self.labels[:, None, None].expand(-1, problems, 1)).squeeze(2)
        value = -(chosen * self.share).sum(0) + (self.penalty * w * w).sum((1, 2)) / 2
        error = logs.exp_().sub_(self.target[:, None]).mul_(self.share[:, :, None])
        slope = (self.x.T @ error.view(-1, problems * classes)).view(width, problems, classes)
        return value, slope.permute(1, 0, 2) + self.penalty * w


class _SeveralLabels(_Problem):
    """The same where an image has any number of the labels: a question of yes or no each."""

    bound = 0.25

    def targets(self) -> Tensor:
        """Write the labels as numbers, (n, K), and remember which are known."""
        self.known = (self.labels >= 0).to(self.x.dtype)
        return (self.labels > 0).to(self.x.dtype)

    def biases(self, found: Tensor) -> Tensor:
        """Give the biases (B, K): each counts."""
        return found

    def start(self) -> Tensor:
        """Zero weights, biases of the frequencies: the best that knows no image."""
        yes = self.share.T @ (self.target * self.known) + 1e-4
        no = self.share.T @ ((1 - self.target) * self.known) + 1e-4
        w = self.x.new_zeros(self.share.shape[1], self.x.shape[1], self.classes)
        w[:, -1] = (yes / no).log()
        return w

    def look(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Value (B,) and gradient of w (B, R + 1, K)."""
        problems, width, classes = w.shape
        flat = w.permute(1, 0, 2).reshape(width, problems * classes)
        logits = (self.x @ flat).view(-1, problems, classes)
        target, known = self.target[:, None], self.known[:, None]
        losses = torch.nn.functional.softplus(logits) - target * logits
        value = ((losses * known).sum(2) * self.share).sum(0)
        value = value + (self.penalty * w * w).sum((1, 2)) / 2
        error = (logits.sigmoid() - target) * known * self.share[:, :, None]
        slope = (self.x.T @ error.view(-1, problems * classes)).view(width, problems, classes)
        return value, slope.permute(1, 0, 2) + self.penalty * w


def _direction(gradient, inverse, history):
    """Turn a gradient by L-BFGS's estimate of the inverse Hessian (Nocedal 1980, two loops)."""
    turned, alphas = gradient, []
    for step, change, rho in reversed(history):
        alpha = rho * (step * turned).sum((1, 2), keepdim=True)
        turned = turned - alpha * change
        alphas.append(alpha)
    turned = inverse * turned
    for (step, change, rho), alpha in zip(history, reversed(alphas), strict=True):
        beta = rho * (change * turned).sum((1, 2), keepdim=True)
        turned = turned + (alpha - beta) * step
    return turned
