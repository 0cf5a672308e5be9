"""Dropout put into a network that was built without, its state_dict unchanged."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn import functional

from polyak.errors import UsageError, shown
from polyak.regularize.dropout import Dropout, SpatialDropout, StochasticDepth

KINDS = ("dropout", "spatial", "connect", "depth")
HELD = "_polyak_dropout"  # the child's name; it has no weights, so state_dict does not know it


def add_dropout(
    model: nn.Module,
    where: str = "head",
    p: float = 0.5,
    kind: str = "dropout",
    mode: str = "inverted",
) -> list[str]:
    """Put dropout into a network, in place; names and shapes of its state_dict stay.

    Args:
        model: any module.
        where: "head" (before the last linear layer), "blocks" (after every block: the outermost
            children of sequences that hold convolutions or linear layers), or a pattern of module
            names such as "layer[34].*".
        p: probability to drop, 0 to below 1; 0 adds nothing.
        kind: "dropout"; "spatial", whole channels; "connect", weights instead of activations (one
            mask a step, after Wan et al., ICML 2013); "depth", residual blocks that become the
            identity, the deeper the likelier up to p (blocks that change the shape are left alone).
        mode: "inverted" or "vanilla", as for `Dropout`.

    Returns:
        Names of the modules that were changed.

    Raises:
        UsageError: no such place, kind or rate.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    >>> before = list(net.state_dict())
    >>> add_dropout(net, "head", 0.5), list(net.state_dict()) == before
    (['2'], True)
    """
    if kind not in KINDS:
        raise UsageError("no such dropout", where=kind, then=f"choose of {', '.join(KINDS)}")
    Dropout(p, mode)
    found = _places(model, where)
    if kind == "connect":
        inside = [part for _, place in found for part in place.modules()]
        found = [(name, m) for name, m in model.named_modules() if _swappable(m, inside)]
    if not found:
        names = [name for name, _ in model.named_modules() if name]
        then = f"head, blocks, or a pattern of names such as {', '.join(names[:4])}"
        raise UsageError("no place for dropout", where=shown(where)[:80], then=then)
    if p > 0:
        for number, (_, module) in enumerate(found):
            rate = p * (number + 1) / len(found) if kind == "depth" else p
            _put(module, kind, rate, mode, before=where == "head")
    return [name for name, _ in found]


def _places(model: nn.Module, where: str) -> list[tuple[str, nn.Module]]:
    named = [(name, module) for name, module in model.named_modules() if name]
    if where == "head":
        return [pair for pair in named if isinstance(pair[1], nn.Linear)][-1:]
    if where != "blocks":
        return [pair for pair in named if fnmatchcase(pair[0], where)]
    blocks: list[tuple[str, nn.Module]] = []
    for name, module in named:
        parent = model.get_submodule(name.rpartition(".")[0])
        inner = any(name.startswith(f"{outer}.") for outer, _ in blocks)
        working = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())
        if isinstance(parent, nn.Sequential | nn.ModuleList) and not inner and working:
            blocks.append((name, module))
    return blocks


def _swappable(module: nn.Module, inside: list[nn.Module]) -> bool:
    return type(module) in _CONNECTED and any(module is one for one in inside)


def _put(module: nn.Module, kind: str, p: float, mode: str, before: bool) -> None:
    makers: dict[str, Callable[..., Dropout]] = {
        "spatial": SpatialDropout,
        "depth": StochasticDepth,
    }
    # functions that find the child by its name, not closures: copies of the model stay whole
    module.add_module(HELD, _Held(makers.get(kind, Dropout)(p, mode)))
    if kind == "connect":
        module.__class__ = _CONNECTED[type(module)]
    elif kind == "depth":
        module.register_forward_hook(_skip)
    elif before:
        module.register_forward_pre_hook(_drop_input)
    else:
        module.register_forward_hook(_drop_output)


class _Held(nn.Module):
    """Hold a dropout; called as one more link of a sequence, do nothing."""

    def __init__(self, drop: Dropout):
        super().__init__()
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return x


def _drop(module: nn.Module) -> nn.Module:
    return module.get_submodule(f"{HELD}.drop")


def _drop_input(module: nn.Module, inputs: tuple) -> tuple:
    return (_drop(module)(inputs[0]), *inputs[1:])


def _drop_output(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return _drop(module)(output)


def _skip(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    x = inputs[0]
    return x + _drop(module)(output - x) if x.shape == output.shape else output


class _ConnectedLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, _drop(self)(self.weight), self.bias)


class _ConnectedConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, _drop(self)(self.weight), self.bias)


_CONNECTED: dict[type, type] = {nn.Linear: _ConnectedLinear, nn.Conv2d: _ConnectedConv2d}
