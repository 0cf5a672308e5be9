"""From pictures to probabilities: training's own preprocessing, test-time views."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from polyak.augment.views import policies
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.ensemble import combine
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

    Returns:
        (float32 (N, K) with rows of NaN for failures, [(position, reason)] of the failures).
    """
    p, rows, failed = preprocessing, [], {}
    training = network.training
    network.eval()
    for policy in policies(views, p.fraction):
        none = np.zeros(len(images), np.int64)
        how = {"batch_size": batch_size, "seed": 0, "threads": threads, "shuffle": False}
        loader = Loader(images, none, policy, size=p.size, mean=p.mean, std=p.std, **how)
        logs = None
        for batch in loader.epoch(0):
            check()
            with (
                torch.inference_mode(),
                torch.autocast(
                    torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16"
                ),
            ):
                logits = network(batch.images.to(device)).float()
            part = logits.log_softmax(1).cpu().numpy()
            logs = (
                np.full((len(images), part.shape[1]), np.nan, np.float32) if logs is None else logs
            )
            logs[batch.indices] = part
        failed.update(loader.failed)
        rows.append(logs if logs is not None else np.zeros((0, 0), np.float32))
    network.train(training)
    return combine(np.stack(rows)), sorted(failed.items())
