"""Several networks as one module: an ensemble that predicts, teaches and is exported as one."""

from collections.abc import Sequence

from torch import Tensor, nn

from polyak.ensemble.combine import CalibratedMean


class Ensemble(nn.Module):
    """Average the predictions of several networks inside one.

    Args:
        networks: float (N, ...) -> logits (N, K) each, in the same order of classes.
        mean: their temperatures and weights; None: as they are, all alike. A network of weight 0 is
            left out.

    Raises:
        ValueError: no network takes part.

    >>> import torch
    >>> whole = Ensemble([nn.Linear(2, 3), nn.Linear(2, 3)])
    >>> whole(torch.zeros(4, 2)).exp().sum(1).round(decimals=4).detach()
    tensor([1., 1., 1., 1.])
    """

    def __init__(self, networks: Sequence[nn.Module], mean: CalibratedMean | None = None):
        super().__init__()
        mean = mean or CalibratedMean((1.0,) * len(networks), (1.0,) * len(networks))
        members = zip(networks, mean.temperatures, mean.weights, strict=True)
        running = [member for member in members if member[2] > 0]
        if not running:
            raise ValueError("nothing to average: give at least one network of some weight")
        parts, temperatures, weights = zip(*running, strict=True)
        self.networks: nn.ModuleList = nn.ModuleList(parts)
        self.mean: CalibratedMean = CalibratedMean(temperatures, weights, mean.of, mean.kind)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logarithm of the mean probability, (N, K), which serves as logits."""
        kind = self.mean.kind
        return kind.logits(self.mean([kind.log_probs(net(inputs)) for net in self.networks]))
