"""From a resolved recipe to the parts of a training step: groups, optimizer, rates, targets."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from polyak import machine, optim
from polyak.augment import cutmix, mixup
from polyak.data.dataset import Dataset
from polyak.data.loader import Loader
from polyak.networks.compact import Compact
from polyak.networks.head import head_names
from polyak.optim.scheduler import check_momentum
from polyak.recipe.rates import beside_muon
from polyak.recipe.resolved import Resolved
from polyak.training.step import Rates, Targets
from polyak.transfer.memory import FrozenFeatureCache
from polyak.transfer.tuning import Tuning

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": optim.SGD,
    "momentum": optim.Momentum,
    "nesterov": optim.Nesterov,
    "adagrad": optim.AdaGrad,
    "rmsprop": optim.RMSProp,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "nadam": optim.NAdam,
    "lion": optim.Lion,
    "muon": optim.Muon,
}
CYCLED = ("snapshots", "branches")  # ensembles whose members one schedule makes
WITH_RHO = {"momentum", "nesterov", "muon"}
MIXES = {"mixup": mixup, "cutmix": cutmix}


def make_optimizer(
    resolved: Resolved, groups: list[dict[str, Any]], averages: list[optim.Average]
) -> torch.optim.Optimizer:
    """Make the optimizer of a recipe for some parameter groups; it updates the averages too."""
    more: dict[str, Any] = {"momentum": resolved.rho} if resolved.optimizer in WITH_RHO else {}
    if resolved.optimizer == "muon":
        rate = resolved.learning_rate
        others, others_lr = beside_muon(
            resolved.model, resolved.batch_size, rate, scratch=resolved.weights is None
        )
        more |= {"lr": rate, "others": others, "others_lr": others_lr}
    optimizer = OPTIMIZERS[resolved.optimizer](groups, averages=averages, **more)
    if resolved.rho_range:
        check_momentum(optimizer)
    return optimizer


def make_groups(
    resolved: Resolved, network: nn.Module, tuning: Tuning | None
) -> list[dict[str, Any]]:
    """Split a network's parameters into groups with `params`, `lr` (the peak), `weight_decay`."""
    rate, decay = resolved.learning_rate, resolved.weight_decay
    if tuning is not None:
        groups = tuning.groups(rate, decay)
    elif isinstance(network, Compact):
        groups = network.parameter_groups(rate, decay)
    else:
        groups = decay_groups(network, rate, decay)
    return matrices_apart(groups, network) if resolved.optimizer == "muon" else groups


def matrices_apart(groups: list[dict[str, Any]], network: nn.Module) -> list[dict[str, Any]]:
    """Split groups so that Muon steps the matrices of a network's inside: not its head, and nothing
    that has a single row, as tables of positions have.

    >>> network = Compact(2)
    >>> groups = matrices_apart(network.parameter_groups(0.1), network)
    >>> [(len(group["params"]), group["muon"]) for group in groups]
    [(6, True), (1, False), (7, False)]
    """
    heads = [network.get_submodule(name) for name in head_names(network)]
    last = {id(p) for head in heads for p in head.parameters()}
    found = []
    for group in groups:
        matrix = [p.ndim > 1 and len(p) > 1 and id(p) not in last for p in group["params"]]
        for muon in (True, False):
            chosen = [
                p for p, is_one in zip(group["params"], matrix, strict=True) if is_one == muon
            ]
            if chosen:
                found.append({**group, "params": chosen, "muon": muon})
    return found


def decay_groups(
    network: nn.Module, learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Split parameters so that decay spares biases and norms, which have one dimension.

    >>> groups = decay_groups(nn.Linear(2, 2), 0.1, 0.01)
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(1, 0.01), (1, 0.0)]
    """
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    parts = [p for p in learnt if p.ndim > 1], [p for p in learnt if p.ndim <= 1]
    decays = weight_decay, 0.0
    return [
        {"params": params, "lr": learning_rate, "weight_decay": decay}
        for params, decay in zip(parts, decays, strict=True)
        if params
    ]


def make_rates(resolved: Resolved, optimizer: torch.optim.Optimizer) -> Rates:
    """Make the course of an optimizer's rates: what they are now is their peak."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    return Rates(schedule(resolved), peaks, resolved.rho_range)


def schedule(resolved: Resolved) -> Callable[[float], float]:
    """Make the schedule of a recipe: progress in [0, 1] -> factor of the peak rate."""
    return optim.schedules.named(
        resolved.schedule, resolved.cycles, resolved.cycle_growth, resolved.cycle_peak,
        resolved.warm_up,
    )  # fmt: skip


def cycle_ends(resolved: Resolved) -> list[float]:
    """Progress at which each member is due; none where none are taken."""
    if resolved.ensemble not in CYCLED:
        return []
    return optim.schedules.named_ends(
        resolved.schedule, resolved.cycles, resolved.cycle_growth, resolved.warm_up
    )


def falls(resolved: Resolved) -> list[tuple[float, float]]:
    """Progress at which each fall of the rate begins and ends, where training goes back from it."""
    if resolved.ensemble != "branches":
        return []
    return optim.schedules.named_spans(resolved.cycles, resolved.warm_up)


def make_targets(
    resolved: Resolved,
    data: Dataset,
    network: nn.Module,
    teacher: Callable[[Tensor], Tensor] | None,
) -> Targets:
    """Say what a network learns of its batches.

    Args:
        resolved: mixing, smoothing, balance.
        data: of the images to train on.
        network: on its device.
        teacher: tells the targets instead of the labels.

    Source: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
    """
    classes: Any = network.classes if isinstance(network, Compact) else network.num_classes
    mix: Any = MIXES.get(resolved.mix)
    if mix is not None:
        mix = partial(mix, alpha=resolved.mix_alpha or 1.0)
    device = next(network.parameters()).device
    share = torch.from_numpy(data.shares()).float().to(device)
    weights = 1 / (classes * share) if resolved.balance == "weights" else None
    offset = share.log() if resolved.balance == "logits" else None
    return Targets(classes, data.kind, resolved.label_smoothing, mix, teacher, weights, offset)


def make_tuning(resolved: Resolved, network: nn.Module) -> Tuning | None:
    """Set a network up for fine-tuning, where a recipe asks for it."""
    if not resolved.tuned:
        return None
    return Tuning(
        network,
        resolved.transfer,
        norms=not resolved.freeze_norms,
        layer_decay=resolved.layer_decay or 1.0,
        l2_sp=resolved.l2_sp,
        unfreeze=resolved.unfreeze,
    )


def make_memory(
    resolved: Resolved, network: nn.Module, tuning: Tuning | None, loader: Loader | None
) -> FrozenFeatureCache | None:
    """Run frozen stages as a twin, once for each image where nothing random changes it.

    Args:
        resolved: says what changes images.
        network: as it is tuned.
        tuning: what is frozen.
        loader: of the images that may be remembered; None remembers none.
    """
    # dropout in a frozen stage would be lost
    if tuning is None or (resolved.dropout and resolved.dropout_where != "head"):
        return None
    unchanged = resolved.augment == "none" and resolved.mix == "none"
    count = len(loader.labels) if loader and unchanged else 0
    return FrozenFeatureCache.of(network, tuning, count, machine.memory() / 4 if count else 0)
