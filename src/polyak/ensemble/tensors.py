"""The mean of `combine` for tensors: inside of networks, on any device, under exporters."""

import torch
from torch import Tensor


def tempered(logs: Tensor, temperature: float) -> Tensor:
    """Divide log-probabilities by a temperature, normalised again; `ensemble.tempered` for tensors.

    >>> tempered(torch.tensor([[0.8, 0.2]]).log(), 2.0).exp().round(decimals=3)
    tensor([[0.6670, 0.3330]])
    """
    return logs if temperature == 1 else (logs / temperature).log_softmax(1)


def mean(
    logs: list[Tensor], shares: list[float] | None = None, of: str = "probabilities"
) -> Tensor:
    """Average log-probabilities (N, K) of members or views; `ensemble.combine` for tensors.

    Args:
        logs: one (N, K) each.
        shares: of each, together 1; None counts all alike.
        of: "probabilities" or "logits".

    >>> mean([torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()]).exp()
    tensor([[0.7000, 0.3000]])
    """
    if len(logs) == 1:
        return logs[0]
    equal = [1 / len(logs)] * len(logs)
    weights = torch.tensor(shares or equal, device=logs[0].device)[:, None, None]
    stacked = torch.stack(logs)
    if of == "logits":
        return (stacked * weights).sum(0).log_softmax(1)
    return torch.logsumexp(stacked + weights.log(), 0)
