"""Where in a network dropout goes: the head, blocks, residual blocks, or names by a pattern."""

import copy
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from polyak.errors import UsageError

Place = tuple[str, nn.Module]


def head(model: nn.Module) -> list[Place]:
    """Find the last linear layer.

    >>> [name for name, _ in head(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)))]
    ['2']
    """
    return [place for place in _named(model) if isinstance(place[1], nn.Linear)][-1:]


def blocks(model: nn.Module) -> list[Place]:
    """Find the outermost children of sequences that hold convolutions or linear layers.

    >>> [name for name, _ in blocks(nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU()))]
    ['0']
    """
    found: list[Place] = []
    for name, module in _named(model):
        parent = model.get_submodule(name.rpartition(".")[0])
        inner = any(name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(parent, nn.Sequential | nn.ModuleList) and not inner and _works(module):
            found.append((name, module))
    return found


def matching(model: nn.Module, pattern: str) -> list[Place]:
    """Find modules by name; as in a shell, `*` stops at what parts the names of folders: dots.

    >>> network = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())
    >>> [[name for name, _ in matching(network, pattern)] for pattern in ("*", "*.*", "[01]")]
    [['0', '1'], ['0.0'], ['0', '1']]
    """
    parts = pattern.split(".")

    def fits(name: str) -> bool:
        names = name.split(".")
        return len(names) == len(parts) and all(map(fnmatchcase, names, parts))

    return [place for place in _named(model) if fits(place[0])]


@torch.no_grad()
def residual(model: nn.Module, example: Tensor | None = None) -> list[Place]:
    """Find residual blocks that keep the shape of their input.

    A block is told by what it does: with all its weights zero, `x + branch(x)` gives a positive x
    back, also through a last ReLU, and a chain of layers does not.

    Args:
        model: any module; nothing in it is changed.
        example: a batch that it takes; default one of the size that timm's models name.

    Raises:
        UsageError: the model does not name a size, or does not take the example.

    >>> class Block(nn.Linear):
    ...     def forward(self, x):
    ...         return x + super().forward(x)
    >>> network = nn.Sequential(Block(2, 2), nn.Linear(2, 2))
    >>> [name for name, _ in residual(network, torch.ones(1, 2))]
    ['0']
    """
    seen: dict[nn.Module, tuple] = {}

    def look(module: nn.Module, inputs: tuple, more: dict[str, Any], output: Any) -> None:
        first = inputs[0] if inputs else None
        if isinstance(first, Tensor) and getattr(output, "shape", None) == first.shape:
            seen[module] = inputs, more

    working = [place for place in _named(model) if _works(place[1])]
    hooks = [module.register_forward_hook(look, with_kwargs=True) for _, module in working]
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        model(_example(model) if example is None else example)
    except UsageError:
        raise
    except Exception as error:  # every network fails in its own way
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UsageError("the network does not take the example", why=why) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return [(name, one) for name, one in working if one in seen and _gives_back(one, *seen[one])]


def _example(model: nn.Module) -> Tensor:
    config = getattr(model, "pretrained_cfg", None)
    size = config.get("input_size") if isinstance(config, dict) else None
    if size is None:
        raise UsageError(
            "residual blocks cannot be told without an input",
            then="give an example: torch.zeros(1, 3, 224, 224)",
        )
    first = next(model.parameters())
    return torch.zeros((1, *size), device=first.device, dtype=first.dtype)


def _gives_back(module: nn.Module, inputs: tuple, more: dict[str, Any]) -> bool:
    twin = copy.deepcopy(module)
    for tensor in (*twin.parameters(), *twin.buffers()):
        if tensor.is_floating_point():
            tensor.zero_()
    x = inputs[0]
    ramp = torch.linspace(0.1, 0.9, x.numel(), device=x.device).to(x.dtype).reshape(x.shape)
    try:
        return torch.allclose(twin(ramp, *inputs[1:], **more), ramp, atol=1e-6)
    except Exception:  # it wants more of its input than a shape
        return False


def _named(model: nn.Module) -> list[Place]:
    return [(name, module) for name, module in model.named_modules() if name]


def _works(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())
