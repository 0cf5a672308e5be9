"""Dropout put into a network that was built without, its state_dict unchanged."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from polyak.errors import UsageError, shown
from polyak.regularize import places
from polyak.regularize.dropout import Dropout, SpatialDropout, StochasticDepth

KINDS = ("dropout", "spatial", "connect", "depth")
HELD = "_polyak_dropout"  # the child's name; it has no weights, so state_dict does not know it


def add_dropout(
    model: nn.Module,
    where: str = "head",
    p: float = 0.5,
    kind: str = "dropout",
    mode: str = "inverted",
    example: Tensor | None = None,
) -> list[str]:
    """Put dropout into a network, in place; names and shapes of its state_dict stay.

    Args:
        model: any module.
        where: "head" (before the last linear layer), "blocks" (after every block: the outermost
            children of sequences that hold convolutions or linear layers), or a pattern of module
            names such as "layer[34].*", whose `*` stops at dots.
        p: probability to drop, 0 to below 1; 0 adds nothing.
        kind: "dropout"; "spatial", whole channels; "connect", weights instead of activations (one
            mask a step, after Wan et al., ICML 2013); "depth", residual blocks that become the
            identity, the deeper the likelier up to p, and nothing else: neither layers within them
            nor blocks that change the shape ("blocks" are then the innermost residual ones).
        mode: "inverted" or "vanilla", as for `Dropout`.
        example: a batch that the model takes, by which "depth" tells residual blocks; default one
            of the size that a model of timm names.

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
    if kind == "depth":
        found = _residual(model, where, example)
    else:
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
            _put(model, module, kind, _made(kind, rate, mode), before=where == "head")
    return [name for name, _ in found]


def dropped(model: nn.Module) -> list[str]:
    """Name the modules of a network that `add_dropout` has changed.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> _ = add_dropout(net, "*", 0.5); dropped(net)
    ['0', '1']
    """
    ending = f".{HELD}"
    return [n.removesuffix(ending) for n, _ in model.named_modules() if n.endswith(ending)]


def _places(model: nn.Module, where: str) -> list[places.Place]:
    ways = {"head": places.head, "blocks": places.blocks}
    return ways[where](model) if where in ways else places.matching(model, where)


def _residual(model: nn.Module, where: str, example: Tensor | None) -> list[places.Place]:
    """Find the residual blocks at a place."""
    able = places.residual(model, example)
    names = [name for name, _ in able]
    inner = [one for one in names if not any(name.startswith(f"{one}.") for name in names)]
    wanted = inner if where == "blocks" else [name for name, _ in _places(model, where)]
    found = [place for place in able if place[0] in wanted]
    if not found:
        then = "--dropout-where blocks" if able else "take a residual network, or another kind"
        why = f"residual blocks of this network: {', '.join(inner[:4])}" if able else "it has none"
        raise UsageError("no residual block", where=shown(where)[:80], why=why, then=then)
    return found


def _made(kind: str, p: float, mode: str) -> Dropout:
    makers: dict[str, Callable[..., Dropout]] = {
        "spatial": SpatialDropout,
        "depth": StochasticDepth,
    }
    return makers.get(kind, Dropout)(p, mode)


def _swappable(module: nn.Module, inside: list[nn.Module]) -> bool:
    return type(module) in _CONNECTED and any(module is one for one in inside)


def _put(model: nn.Module, module: nn.Module, kind: str, drop: Dropout, before: bool) -> None:
    # functions that find the child by its name, not closures: copies of the model stay whole
    module.add_module(HELD, _Held(drop).train(module.training))
    if kind == "connect":
        _replace(model, module, _CONNECTED[type(module)])
    elif kind == "depth":
        module.register_forward_hook(_skip)
    elif before:
        module.register_forward_pre_hook(_drop_input)
    else:
        module.register_forward_hook(_drop_output)


def _replace(model: nn.Module, module: nn.Module, kind: type[nn.Module]) -> None:
    """Put a module of another class in one's place, wherever it stands, with all that it holds."""
    new = kind.__new__(kind)
    vars(new).update(vars(module))
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is module:
                parent._modules[name] = new


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
