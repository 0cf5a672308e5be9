"""Weights of others: their names of tensors told in the words of timm's networks.

A file may put a prefix before all names, follow torchvision or the paper's own code, or carry a
head for another task. What is taken has the network's names and shapes in the end, or is refused.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import product

import torch
from torch import Tensor, nn

from polyak.networks.head import head_names
from polyak.networks.zoo import zoo

# what wrappers put before every name, the outermost first
PREFIXES = ("_orig_mod.", "module.", "model.", "network.", "net.", "backbone.", "encoder.")
# where a training program keeps its weights in a checkpoint
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
# a name by which a program is known, and the architectures whose tensors it gives in timm's order,
# with timm's padding and epsilons: an order that fits is not yet the same network
SAME_ORDER = {
    "features.0.0.weight": re.compile(
        r"mobilenetv2_|efficientnet_b[0-4]$|convnext_(tiny|small|base|large)$"
    ),
    "layers.0.weight": re.compile(r"mnasnet_"),
    "_conv_stem.weight": re.compile(r"tf_efficientnet_lite"),
}
SAME_WORDS = {"layer_scale": "gamma"}
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]  # patterns, and words for them
TORCHVISION_VIT: Rules = (
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
)
TORCHVISION_REGNET: Rules = (
    (r"^stem\.0\.", "stem.conv."),
    (r"^stem\.1\.", "stem.bn."),
    (r"^trunk_output\.block(\d)\.block\d-(\d+)\.", lambda m: f"s{m[1]}.b{int(m[2]) + 1}."),
    (r"\.proj\.0\.", ".downsample.conv."),
    (r"\.proj\.1\.", ".downsample.bn."),
    (r"\.f\.a\.0\.", ".conv1.conv."),
    (r"\.f\.a\.1\.", ".conv1.bn."),
    (r"\.f\.b\.0\.", ".conv2.conv."),
    (r"\.f\.b\.1\.", ".conv2.bn."),
    (r"\.f\.c\.0\.", ".conv3.conv."),
    (r"\.f\.c\.1\.", ".conv3.bn."),
    (r"\.f\.se\.", ".se."),
    (r"^fc\.", "head.fc."),
)
# networks that a file of an unknown one is compared with
COMMON = (
    "resnet18", "resnet34", "resnet50", "resnet101", "mobilenetv2_100", "mobilenetv3_large_100",
    "efficientnet_b0", "efficientnet_b1", "tf_efficientnet_lite0", "convnext_tiny",
    "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "regnety_004",
    "densenet121", "swin_tiny_patch4_window7_224",
)  # fmt: skip
# torchvision's models that timm calls otherwise
OTHER_NAMES = {
    "mobilenet_v2": "mobilenetv2_100",
    "mnasnet1_0": "mnasnet_100",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "regnet_y_400mf": "regnety_004",
    "regnet_y_800mf": "regnety_008",
    "regnet_y_1_6gf": "regnety_016",
    "regnet_y_3_2gf": "regnety_032",
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "efficientnet-lite1": "tf_efficientnet_lite1",
    "efficientnet-lite2": "tf_efficientnet_lite2",
}


def model_of_file(stem: str) -> str:
    """Read the model off a file's name: without a hash at its end, in timm's words.

    >>> model_of_file("mobilenet_v2-b0353104"), model_of_file("resnet50-0676ba61.pth")
    ('mobilenetv2_100', 'resnet50')
    >>> model_of_file("resnet18.a1_in1k")
    'resnet18.a1_in1k'
    """
    stem = re.sub(r"\.(?:pth|pt)$", "", stem)
    stem = re.sub(r"-[0-9a-f]{8}$", "", stem)
    return OTHER_NAMES.get(stem, stem)


def unwrapped(content: object) -> object:
    """Take the table of weights out of a training program's checkpoint.

    >>> unwrapped({"epoch": 3, "model_state_dict": {"a": 1}})
    {'a': 1}
    """
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    return content


def adapted(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name a file's tensors as a network does: the way of reading by which most of them fit.

    Args:
        network: whose names and shapes are wanted.
        tensors: by the file's names.

    Returns:
        By the network's names; those that stay strange are the file's own.

    >>> import torch
    >>> from polyak.networks.compact import Compact
    >>> network = Compact(2, (8, 8), (4, 6))
    >>> file = {f"module.{name}": value for name, value in network.state_dict().items()}
    >>> adapted(network, file).keys() == network.state_dict().keys()
    True
    """
    own = backbone_tensors(network)
    best = dict(tensors)
    if len(tensors) > 1000 + 4 * len(own):  # of no network of this kind, whatever it is called
        return best
    for found in _readings(network, best):
        if fitting(own, found) > fitting(own, best):
            best = found
        if fitting(own, best) == len(own):
            break
    return best


def network_of(tensors: Mapping[str, Tensor]) -> str | None:
    """Name a common network that a table of tensors fits; None where it fits none of them.

    >>> network_of({})
    """
    for name in COMMON:
        try:
            with torch.device("meta"):
                network = zoo().create_model(name, num_classes=2)
        except NotImplementedError:  # a RegNet of an older timm
            continue
        own = backbone_tensors(network)
        if fitting(own, adapted(network, tensors)) == len(own):
            return name
    return None


def backbone_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Give a network's tensors by name, without its head and counters."""
    heads = tuple(f"{name}." for name in head_names(network)) or ("\n",)
    return {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(heads) and not name.endswith("num_batches_tracked")
    }


def fitting(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> int:
    """Count the tensors that have the names and shapes of a network's."""
    return sum(name in found and found[name].shape == own[name].shape for name in own)


def _readings(network: nn.Module, tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    tables = list(_stripped(tensors))
    for stripped, way in product(tables, (dict, _vit, _regnet)):
        yield way(stripped)
    for stripped in tables:
        yield _in_order(network, stripped)
        yield _filtered(network, stripped)


def _stripped(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Give the table as it is, then without what wrappers put before its names."""
    yield tensors
    for _ in PREFIXES:
        shares = {p: sum(name.startswith(p) for name in tensors) for p in PREFIXES}
        prefix = max(PREFIXES, key=lambda p: shares[p])
        if 2 * shares[prefix] < len(tensors) or not tensors:
            return
        tensors = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        yield tensors


def _renamed(tensors: dict[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    found = {}
    for name, value in tensors.items():
        for pattern, words in rules:
            name = re.sub(pattern, words, name)
        found[name] = value
    return found


def _vit(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return _renamed(tensors, TORCHVISION_VIT) if "class_token" in tensors else tensors


def _regnet(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    known = any(name.startswith("trunk_output.") for name in tensors)
    return _renamed(tensors, TORCHVISION_REGNET) if known else tensors


def _in_order(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors by their place, where every one has the kind and shape that the place wants."""
    architecture = str(getattr(network, "pretrained_cfg", {}).get("architecture"))
    if not any(n in tensors and known.match(architecture) for n, known in SAME_ORDER.items()):
        return tensors
    own = network.state_dict()
    heads = tuple(f"{name}." for name in head_names(network)) or ("\n",)
    places = list(own)
    if len(tensors) < len(own):  # a backbone without its head
        places = [name for name in places if not name.startswith(heads)]
    if len(places) != len(tensors):
        return tensors
    found = {}
    for place, (name, value) in zip(places, tensors.items(), strict=True):
        kind = name.rpartition(".")[2]
        if SAME_WORDS.get(kind, kind) != place.rpartition(".")[2]:
            return tensors
        shape = own[place].shape
        if value.squeeze().shape == own[place].squeeze().shape:
            value = value.reshape(shape)
        elif not place.startswith(heads):
            return tensors
        found[place] = value
    return found


def _filtered(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ask timm, which knows how the authors of a network name its tensors, and which resamples the
    places of a ViT for images of another size.
    """
    known = getattr(sys.modules.get(type(network).__module__), "checkpoint_filter_fn", None)
    if known is None:
        return tensors
    try:
        found = known(dict(tensors), network)
    except Exception:  # it was written for other files than this one
        return tensors
    named = isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    )
    return found if named else tensors
