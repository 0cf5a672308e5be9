"""From pictures to probabilities: training's own preprocessing, test-time views."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from polyak.augment.views import policies
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.ensemble import combine
from polyak.errors import DataError
from polyak.networks.preprocessing import Preprocessing


def log_probabilities(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    *,
    views: str = "one",
    device: str = "cpu",
    batch_size: int = 256,
    threads: int = 1,
    precision: str = "float32",
    check: Callable[[], object] = lambda: None,
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Log-probabilities of pictures, averaged over test-time views.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        images: opened pictures.
        preprocessing: size, normalisation, crop.
        views: test-time views that are averaged.
        device: where the network is.
        batch_size: pictures a forward pass.
        threads: of decoding and rendering.
        precision: float32 or bfloat16.
        check: called at every batch; may raise to stop.

    Raises:
        DataError: no picture could be read.

    Returns:
        (float32 (N, K) with rows of NaN for failures, [(position, reason)] of the failures).

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> pictures = Images.of(np.zeros((3, 8, 8, 3), np.uint8))
    >>> log_probabilities(network, pictures, page)[0].shape
    (3, 2)
    """
    good = images.good
    failed = dict(images.failed)
    if not len(good):
        position, reason = next(iter(failed.items()), (None, "there is none"))
        where = str(images.files[position]) if position is not None else ""
        raise DataError("no picture could be read", where=where, why=reason)
    readable, p, rows = images.take(good), preprocessing, []
    training = network.training
    network.eval()
    for policy in policies(views, p.fraction):
        none = np.zeros(len(good), np.int64)
        how = {"batch_size": batch_size, "seed": 0, "threads": threads, "shuffle": False}
        loader = Loader(readable, none, policy, size=p.size, mean=p.mean, std=p.std, **how)
        parts = []
        for batch in loader.epoch(0):
            check()
            parts.append(
                (good[batch.indices], _forward(network, batch.images.to(device), precision))
            )
        logs = np.full((len(images), parts[0][1].shape[1]), np.nan, np.float32)
        for positions, part in parts:
            logs[positions] = part
        failed.update((int(good[position]), reason) for position, reason in loader.failed)
        rows.append(logs)
    network.train(training)
    return combine(np.stack(rows)), sorted(failed.items())


def _forward(network: nn.Module, images: torch.Tensor, precision: str) -> np.ndarray:
    with (
        torch.inference_mode(),
        torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        return network(images).float().log_softmax(1).cpu().numpy()
