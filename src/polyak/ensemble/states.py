"""Weights apart from their network: copied, and given batch-norm statistics of their own."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from polyak.optim import keep_shared, refresh_batch_norm

State = dict[str, Tensor]  # a state_dict


def copied(network: nn.Module) -> State:
    """Copy a network's weights into memory of their own, on the CPU.

    >>> sorted(copied(nn.Linear(1, 1)))
    ['bias', 'weight']
    """
    plain = {"memory_format": torch.contiguous_format}
    return {name: v.detach().cpu().clone(**plain) for name, v in network.state_dict().items()}


def refreshed(
    network: nn.Module, state: State, batches: Iterable[Tensor], ingredients: Sequence[State] = ()
) -> State:
    """Give averaged weights batch-norm statistics of their own, which no training estimated.

    Args:
        network: of the weights' architecture; it holds the result afterwards, in evaluation mode.
        state: averaged weights.
        batches: training inputs (N, ...), or tuples that begin with them.
        ingredients: what was averaged: statistics that all of them have in common are kept, such
            as those of stages that were frozen in fine-tuning.

    Returns:
        A copy of the weights with the statistics.

    Raises:
        UsageError: there is no batch.

    >>> layer = nn.BatchNorm1d(1, affine=False)
    >>> averaged = refreshed(layer, copied(layer), [torch.tensor([[1.0], [3.0]])])
    >>> averaged["running_mean"]
    tensor([2.])
    """
    network.load_state_dict(state)
    layers = [m for m in network.modules() if hasattr(m, "track_running_stats")]
    before = [layer.track_running_stats for layer in layers]
    if len(ingredients) > 1:
        keep_shared(network, ingredients)
    try:
        refresh_batch_norm(network.eval(), batches)
    finally:
        for layer, tracks in zip(layers, before, strict=True):
            layer.track_running_stats = tracks
    return copied(network)
