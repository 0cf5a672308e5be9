"""Monte-Carlo prediction: dropout left on at test time, its draws averaged."""

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from polyak import keys
from polyak.errors import UsageError
from polyak.regularize.dropout import Dropout


@torch.no_grad()
def monte_carlo(
    model: nn.Module, images: Tensor, samples: int = 20, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Predict with dropout on, several times: mean and spread of the probabilities.

    Everything but dropout stays in evaluation mode; modes and torch's generator are restored. The
    same seed draws the same masks.

    Args:
        model: float32 (N, ...) -> logits (N, K), with some dropout in it.
        images: float32 (N, ...).
        samples: forward passes, at least 2.
        seed: of the masks.

    Returns:
        (probabilities (N, K), their standard deviation over the draws (N, K)); the error of the
        mean is the spread / samples ** 0.5.

    Raises:
        UsageError: fewer than 2 samples, or no dropout in the model.

    Source: Gal & Ghahramani, "Dropout as a Bayesian approximation", ICML 2016.

    >>> net = nn.Sequential(Dropout(0.5), nn.Linear(8, 2))
    >>> mean, spread = monte_carlo(net, torch.ones(3, 8), samples=4)
    >>> mean.shape, bool((spread > 0).all())
    (torch.Size([3, 2]), True)
    """
    if samples < 2:
        raise UsageError("a spread takes at least 2 samples", where=str(samples))
    drops = [m for m in model.modules() if isinstance(m, Dropout | _DropoutNd)]
    if not drops:
        then = "polyak.regularize.add_dropout puts it in"
        raise UsageError("there is no dropout in this network", then=then)
    modes = [(module, module.training) for module in model.modules()]
    devices = [images.device] if images.device.type == "cuda" else []
    total, squares = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    total, squares = total.to(images.device), squares.to(images.device)
    try:
        model.eval()
        for drop in drops:
            drop.train()
        with torch.random.fork_rng(devices):
            for sample in range(samples):
                torch.manual_seed(keys.key("monte carlo", seed, sample))
                probabilities = model(images).double().softmax(1)
                total, squares = total + probabilities, squares + probabilities**2
    finally:
        for module, mode in modes:
            module.training = mode
    mean = total / samples
    variance = (squares / samples - mean**2).clamp(min=0) * samples / (samples - 1)
    return mean.float(), variance.sqrt().float()
