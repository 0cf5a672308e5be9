"""Fine-tuning: which stages learn, how fast each, when each wakes, and what draws them back.

Depth is counted in stages: 0 is the first, the head the last. A stage that never learns runs
without gradients and in evaluation mode, so that a step costs what the learning part costs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from polyak.networks import HEAD, backbone_of, stages
from polyak.networks.head import head_names
from polyak.networks.stages import input_size
from polyak.optim import engine
from polyak.optim.rules import polyak

STRATEGIES = ("few", "many", "all")


def depths(network: nn.Module) -> dict[str, int]:
    """Say for every parameter how many stages are complete when it is first used.

    Args:
        network: made by `build`; runs once on a black image.

    >>> from polyak.networks import Compact
    >>> found = depths(Compact(2, (8, 8), (4, 6)))
    >>> found["whitening_bias"], found["stages.1.0.weight"], found["head.weight"]
    (0, 1, 2)
    """
    inner = backbone_of(network)
    ends = [inner.get_submodule(name) for name in stages(inner) if name != HEAD]
    done, met, handles = 0, {}, []

    def enter(module: nn.Module, _: object) -> None:
        met.setdefault(module, done)

    def leave(*_: object) -> None:
        nonlocal done
        done += 1

    for module in network.modules():
        handles.append(module.register_forward_pre_hook(enter))
    for module in ends:
        handles.append(module.register_forward_hook(leave))
    training = network.training
    device = next(network.parameters()).device
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, *input_size(inner), device=device))
    network.train(training)
    for handle in handles:
        handle.remove()
    result = {}
    for name, _ in network.named_parameters():
        owner = name.rpartition(".")[0]
        while owner and network.get_submodule(owner) not in met:  # used by its parent's own code
            owner = owner.rpartition(".")[0]
        result[name] = met[network.get_submodule(owner)] if owner else 0
    return result


def first_learning(strategy: str, count: int) -> int:
    """Give the first of `count` stages that learns: the last, the later half, or all of them.

    >>> [first_learning(strategy, 5) for strategy in STRATEGIES]
    [4, 2, 0]
    """
    return {"few": count - 1, "many": count // 2, "all": 0}[strategy]


class Tuning:
    """Fine-tune a network: freeze its first stages, let later ones learn faster, draw them back.

    Args:
        network: with its source weights and a fitted head, on its device; its parameters that do
            not learn lose `requires_grad`.
        strategy: few, many or all.
        norms: whether batch norms keep learning statistics; else the source's stay.
        layer_decay: each stage learns so many times as fast as the one after it.
        l2_sp: strength of the pull toward the source weights (L2-SP), decoupled like AdamW's decay.
        unfreeze: share of the run by which the last stage to learn has woken, from the head down.

    Source: the lecture's table; Howard & Ruder 2018 (discriminative rates, gradual unfreezing);
    Li et al. 2018 (L2-SP); Kumar et al. 2022 (linear probing, then fine-tuning).

    >>> from polyak.networks import Compact
    >>> tuning = Tuning(Compact(2, (8, 8), (4, 6)), "few", layer_decay=0.5)
    >>> [(group["lr"], len(group["params"])) for group in tuning.groups(1.0, 0.0)]
    [(1.0, 1), (0.5, 2), (0.5, 2)]
    """

    def __init__(
        self,
        network: nn.Module,
        strategy: str,
        *,
        norms: bool = True,
        layer_decay: float = 1.0,
        l2_sp: float = 0.0,
        unfreeze: float = 0.0,
    ):
        self.network = network
        self.layer_decay = layer_decay
        self.strength = l2_sp
        self.unfreeze = unfreeze
        self.depth: dict[str, int] = depths(network)
        self.top: int = max(self.depth.values())
        self.first: int = first_learning(strategy, self.top)
        for name, parameter in network.named_parameters():
            if self.depth[name] < self.first:
                parameter.requires_grad_(False)
        self.asleep: list[nn.Module] = self._asleep(norms)
        self._memos: dict[int, dict[str, Any]] = {}
        heads = tuple(f"{name}." for name in head_names(network))
        self._source = {
            parameter: parameter.detach().clone()
            for name, parameter in network.named_parameters()
            if l2_sp and parameter.requires_grad and not name.startswith(heads)
        }

    def _asleep(self, norms: bool) -> list[nn.Module]:
        """Modules that stay in evaluation mode: those of frozen stages, and all norms if asked."""
        found = []
        for name, module in self.network.named_modules():
            own = [self.depth[key] for key in self.depth if key.startswith(f"{name}.")]
            frozen = bool(own) and max(own) < self.first
            if frozen or (isinstance(module, _BatchNorm) and not norms):
                found.append(module)
        for module in found:
            if isinstance(module, _BatchNorm):
                module.track_running_stats = False  # it is not estimated anew for averages either
        return found

    def set_eval(self) -> None:
        """Put what sleeps into evaluation mode; call it after `network.train()`."""
        for module in self.asleep:
            module.eval()

    def groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Split what learns by depth, from the head down: `params`, `lr`, `weight_decay`, `wakes`.

        Args:
            learning_rate: of the head's stage.
            weight_decay: of weights; biases and norms, of one dimension, are spared.
        """
        found = []
        learning = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        for depth in range(self.top, self.first - 1, -1):
            down = self.top - depth
            for decay, of in ((weight_decay, lambda p: p.ndim > 1), (0.0, lambda p: p.ndim <= 1)):
                params = [p for name, p in learning if self.depth[name] == depth and of(p)]
                if params:
                    found.append({
                        "params": params,
                        "lr": learning_rate * self.layer_decay**down,
                        "weight_decay": decay,
                        "wakes": self.unfreeze * down / max(1, self.top - self.first),
                    })  # fmt: skip
        return found

    @torch.no_grad()
    def toward_source(self, groups: list[dict[str, Any]]) -> None:
        """Move weights toward their source by lr * l2_sp of the way: an average with it."""
        for number, group in enumerate(groups if self._source else ()):
            kept = [p for p in group["params"] if p in self._source]
            if kept and group["lr"] > 0:
                columns: list[list[Tensor]] = [kept, [self._source[p] for p in kept]]
                decay = max(0.0, 1 - group["lr"] * self.strength)
                memo = self._memos.setdefault(number, {})
                engine.apply(engine.Pass(polyak, {"decay": decay}), columns, memo)
