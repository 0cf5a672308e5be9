"""A classifier as one module: what `Classifier` computes with numpy, for exporters to trace."""

import numpy as np
import torch
from torch import Tensor, nn

from polyak.ensemble import combine, tempered
from polyak.errors import UsageError
from polyak.export.prepare import Prepare
from polyak.inference import Predictor, passes
from polyak.model import Classifier
from polyak.targets import TargetKind


class Graph(nn.Module):
    """Compute what a classifier says of images, members, views and temperatures included.

    Args:
        classifier: its networks are shared, not copied.
        bare: leave preparing out: one view, prepared images in, logits out whose softmax is the
            probabilities.

    Raises:
        UsageError: bare, and members want images of different sizes or colours.

    >>> from polyak.model import Member
    >>> from polyak.networks.build import build, spec
    >>> from polyak.networks.preprocessing import Preprocessing
    >>> small = {"size": (8, 8), "widths": (4, 4)}
    >>> inputs = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> network, made = build("compact", 2, **small), spec("compact", 2, **small)
    >>> one = Classifier([Member(network, made, ("a", "b"), inputs)])
    >>> Graph(one)(torch.zeros((5, 30, 20, 3), dtype=torch.uint8)).sum(1).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, classifier: Classifier, bare: bool = False):
        super().__init__()
        members = [member for member in classifier.members if member.weight > 0]
        self.networks: nn.ModuleList = nn.ModuleList(member.network.eval() for member in members)
        self.temperatures: list[float] = [member.temperature for member in members]
        self.orders: list[np.ndarray] = [member.order(classifier.classes) for member in members]
        self.weights: list[float] = classifier.weights
        self.temperature: float = classifier.temperature
        self.mean: str = classifier.mean
        self.kind: TargetKind = classifier.kind
        self.bare = bare
        specs = [
            Predictor(m.network, m.preprocessing, "one" if bare else m.views or classifier.views)
            for m in members
        ]
        prepared = passes(specs)
        if bare and len(prepared) > 1:
            raise UsageError(
                "these members share no input",
                why="they want images of different sizes or colours",
                then="leave --bare away: the graph then prepares for each of them",
            )
        self.takers: list[list[int]] = list(prepared.values())
        prepares = [] if bare else [Prepare(*one) for one in prepared]
        self.pages: nn.ModuleList = nn.ModuleList(prepares)

    def forward(self, images: Tensor) -> Tensor:
        """Say probabilities (N, K) of uint8 (N, H, W, 3); bare: logits of float32 (N, 3, h, w)."""
        log_probs: list[list[Tensor]] = [[] for _ in self.networks]
        for number, takers in enumerate(self.takers):
            inputs = images if self.bare else self.pages[number](images)
            for taker in takers:
                log_probs[taker].append(self.kind.log_probs(self.networks[taker](inputs)))
        parts = [
            ordered(tempered(combine(views), temperature, self.kind), order)
            for views, temperature, order in zip(
                log_probs, self.temperatures, self.orders, strict=True
            )
        ]
        mean = combine(parts, self.weights, self.mean, self.kind)
        logits = self.kind.logits(mean) / self.temperature
        return logits if self.bare else self.kind.probabilities(logits)


def ordered(rows: Tensor, order: np.ndarray) -> Tensor:
    """Put columns in an order; those that are in it already stay, so that graphs stay plain.

    >>> ordered(torch.tensor([[1, 2]]), np.array([1, 0]))
    tensor([[2, 1]])
    """
    if (order == np.arange(len(order))).all():
        return rows
    return rows.index_select(1, torch.from_numpy(order))
