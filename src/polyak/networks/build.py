"""Networks by name: `compact` or any timm model, and back from a description in a file."""

import difflib
from typing import Any

import torch
from torch import nn

from polyak.errors import RefusedError, UsageError
from polyak.networks import hub
from polyak.networks.compact import Compact
from polyak.networks.head import zero_head
from polyak.networks.staged import Staged
from polyak.networks.zoo import zoo

# what a description in a file may say to timm: never a path, a hub or a class
TIMM_OPTIONS = {
    "img_size",
    "global_pool",
    "drop_rate",
    "drop_path_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "patch_drop_rate",
}
COMPACT_OPTIONS = {"size", "widths"}
STAGES = "stages"  # option of every network: one linear head on these stages, see `Staged`


def build(name: str, classes: int, *, hub: bool = False, **options: Any) -> nn.Module:
    """Make a network: float32 (N, 3, height, width) to logits (N, classes).

    Args:
        name: `compact` or a timm model, with or without the tag of its weights.
        classes: how many, at least 2.
        hub: start from timm's own weights over the network, with a head of zeros.
        options: `size`, `widths` of `compact`; for timm those of TIMM_OPTIONS; `stages` of any.

    Raises:
        UsageError: an unknown name or option, a value out of range, or no weights to be had.

    >>> build("compact", 10, size=(8, 8), widths=(8, 16)).head.out_features
    10
    >>> build("mobilenetv2_10", 10)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    polyak.errors.UsageError: unknown model: mobilenetv2_10: did you mean mobilenetv2_1...
    """
    _check_options(name, options)
    if not _is_count(classes, 2):
        raise UsageError(
            "cannot build", where=name, why=f"{classes} classes; at least 2 are needed"
        )
    chosen = options.pop(STAGES, None)
    try:
        network = _backbone(name, classes, hub, options)
        return network if chosen is None else Staged(network, chosen, classes)
    except (ValueError, TypeError, AssertionError, RuntimeError) as error:
        raise UsageError("cannot build", where=name, why=_first_line(error)) from error


def pretrained_config(name: str) -> dict[str, Any]:
    """Read what timm says of a model's weights, without building it.

    Raises:
        UsageError: timm has no such model.

    >>> pretrained_config("mobilenetv2_100")["input_size"]
    (3, 224, 224)
    """
    _check_options(name, {})
    timm = zoo()
    found = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
    return found.to_dict()


def fixed_size(name: str) -> int | None:
    """Give the side of the images that a timm model was made for, where it takes no other as it is.

    None where it takes any.

    >>> fixed_size("vit_tiny_patch16_224"), fixed_size("resnet18")
    (224, None)
    """
    config = pretrained_config(name)
    return int(config["input_size"][-1]) if config.get("fixed_input_size") else None


def takes(network: nn.Module, size: tuple[int, int]) -> bool:
    """Tell whether a network takes images of a size (height, width), by one forward pass.

    >>> takes(Compact(2, (8, 8), (4, 6)), (8, 8))
    True
    """
    training, device = network.training, next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, *size, device=device))
    except (RuntimeError, AssertionError, ValueError, IndexError):
        return False
    finally:
        network.train(training)
    return True


def spec(name: str, classes: int, **options: Any) -> dict[str, Any]:
    """Describe a network as JSON-able facts, from which `from_spec` builds it again.

    >>> spec("compact", 10, size=(32, 32))
    {'name': 'compact', 'classes': 10, 'options': {'size': [32, 32]}}
    """
    _check_options(name, options)
    plain = {k: list(v) if isinstance(v, tuple | list) else v for k, v in options.items()}
    return {"name": name, "classes": classes, "options": plain}


def from_spec(description: dict[str, Any]) -> nn.Module:
    """Build the network that a file describes, trusting nothing in it.

    Raises:
        RefusedError: the description is not one of `spec`'s.

    >>> from_spec({"name": "compact", "classes": 2, "options": {"size": [8, 8]}}).classes
    2
    """
    if not isinstance(description, dict) or set(description) != {"name", "classes", "options"}:
        raise RefusedError("cannot rebuild the network", why="it needs name, classes and options")
    name, classes, options = (description[k] for k in ("name", "classes", "options"))
    if not (isinstance(name, str) and _is_count(classes, 2) and isinstance(options, dict)):
        raise RefusedError("cannot rebuild the network", why="a field has the wrong type")
    try:
        _check_options(name, options)  # before the call: `hub` is no option that a file may set
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in options.items()
        }
        return build(name, classes, **plain)
    except UsageError as error:
        raise RefusedError(
            "cannot rebuild the network", where=error.where, why=error.why
        ) from error


def _backbone(name: str, classes: int, hub: bool, options: dict[str, Any]) -> nn.Module:
    if name != "compact":
        return _timm(name, classes, hub, options)
    if hub:
        raise ValueError("compact has no weights on a hub; it trains from scratch")
    return Compact(classes, **options)


def _timm(name: str, classes: int, from_hub: bool, options: dict[str, Any]) -> nn.Module:
    if not from_hub:
        return zoo().create_model(name, num_classes=classes, **options)
    try:
        with hub.fetching():
            network = zoo().create_model(name, pretrained=True, num_classes=classes, **options)
    except Exception as error:
        raise hub.refused(name, _first_line(error)) from error
    zero_head(network)
    return network


def _check_options(name: str, options: dict[str, Any]) -> None:
    if name != "compact":
        timm = zoo()
        # timm would also follow "hf-hub:..." and "local-dir:...": a name must be on its own list
        if name not in timm.list_models() and name not in timm.list_pretrained():
            near = difflib.get_close_matches(name, ["compact", *timm.list_models()], n=3)
            raise UsageError(
                "unknown model",
                where=name,
                why=f"did you mean {', '.join(near)}?"
                if near
                else "timm has no model of this name",
                then="choose compact or a name of timm.list_models()",
            )
    allowed = {STAGES, *(COMPACT_OPTIONS if name == "compact" else TIMM_OPTIONS)}
    for option in options:
        if option not in allowed:
            raise UsageError(
                "unknown network option",
                where=f"{name}.{option}",
                why=f"it has {', '.join(sorted(allowed))}",
            )


def _is_count(value: object, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= 1_000_000


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
