"""Batch-norm statistics re-estimated for weights that no batch has ever gone through: averaged
weights.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from polyak.errors import UsageError
from polyak.optim.restore import put_back


def refresh_batch_norm(model: nn.Module, batches: Iterable[Any]) -> None:
    """Estimate the running statistics anew: their mean over the batches, each batch counting alike.

    Only the batch-norm layers see training mode, so dropout stays off as it will be in use; a layer
    frozen in evaluation mode inside a model in training keeps its statistics. Modes and momenta are
    restored.

    Args:
        model: any module; one without batch norm is left alone, and no batch is drawn.
        batches: inputs (N, ...), or tuples that begin with them.

    Raises:
        UsageError: there is no batch; the statistics stay what they were, as after any error.

    Source: Izmailov et al. 2018, section 3.2; as `torch.optim.swa_utils.update_bn`, but with
    dropout off.

    >>> layer = nn.BatchNorm1d(1, affine=False)
    >>> refresh_batch_norm(layer, [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])])
    >>> layer.running_mean.tolist(), layer.running_var.tolist()
    ([3.0], [2.0])
    """
    layers = _layers(model)
    if not layers:
        return
    kept = _statistics(layers)
    modes = [(module, module.training) for module in model.modules()]
    momenta = [layer.momentum for layer in layers]
    parameter = next(model.parameters(), None)
    count, done = 0, False
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # None: the mean of all batches
            layer.train()
        with torch.no_grad():
            for batch in batches:
                images = batch[0] if isinstance(batch, list | tuple) else batch
                model(images if parameter is None else images.to(parameter.device))
                count += 1
        done = count > 0
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes:
            module.training = training
        if not done:
            _put_back(layers, kept)
    if not done:
        raise UsageError(
            "no batch to estimate batch-norm statistics from", then="give at least one"
        )


@contextmanager
def refreshed_batch_norm(model: nn.Module, batches: Iterable[Any]) -> Iterator[None]:
    """Re-estimate the statistics for a while; the model's own come back exactly.

    >>> layer = nn.BatchNorm1d(1)
    >>> with refreshed_batch_norm(layer, [torch.tensor([[1.0], [3.0]])]):
    ...     layer.running_mean.item()
    2.0
    >>> layer.running_mean.item()
    0.0
    """
    layers = _layers(model)
    kept = _statistics(layers)
    try:
        refresh_batch_norm(model, batches)
        yield
    finally:
        _put_back(layers, kept)


def keep_shared(model: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> None:
    """Leave statistics alone that several networks have in common, in refreshing a mean of them.

    Networks that were tuned from the same weights with frozen stages share those stages'
    statistics: they are the source's, the later weights were learnt on top of them, and estimating
    them anew would ruin every one of the networks.

    Args:
        model: of the states' architecture; its layers lose `track_running_stats` where they share.
        states: two state_dicts or more; of one, nothing is shared.

    >>> model = nn.Sequential(nn.BatchNorm1d(1), nn.BatchNorm1d(1))
    >>> state = {name: value.clone() for name, value in model.state_dict().items()}
    >>> keep_shared(model, [state, state | {"1.running_mean": torch.ones(1)}])
    >>> [layer.track_running_stats for layer in model]
    [False, True]
    """
    for prefix, layer in model.named_modules():
        names = [f"{prefix}.{name}".lstrip(".") for name in ("running_mean", "running_var")]
        if not isinstance(layer, _BatchNorm) or names[0] not in states[0] or len(states) < 2:
            continue
        if all(torch.equal(one[name], states[0][name]) for one in states[1:] for name in names):
            layer.track_running_stats = False


def _layers(model):
    layers = [
        m
        for m in model.modules()
        # a layer that does not track is frozen: its statistics are somebody's choice
        if isinstance(m, _BatchNorm) and m.running_mean is not None and m.track_running_stats
    ]
    return [layer for layer in layers if layer.training] if model.training else layers


def _statistics(layers):
    return [{name: value.clone() for name, value in layer.named_buffers()} for layer in layers]


def _put_back(layers, kept):
    for layer, values in zip(layers, kept, strict=True):
        for name, value in values.items():
            now = getattr(layer, name, None)
            if isinstance(now, Tensor):
                put_back(now, value)
            else:
                setattr(layer, name, value)
