"""Weights from a file into a network: every tensor accounted for, nothing executed."""

import argparse
import zipfile
from itertools import count, takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor, nn

from polyak.errors import RefusedError, UsageError, shown
from polyak.networks.foreign import adapted, backbone_tensors, fitting, network_of, unwrapped
from polyak.networks.head import head_names, zero_head

# beside the weights a file may carry optimizer states, an average, a head of many classes
SIZE_FACTOR, SIZE_SLACK = 8, 256 * 2**20
SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin")
STAGE = "stages.{}.0.weight"  # the first convolution of each stage of compact


class Loaded(NamedTuple):
    """What `load_weights` did.

    Attributes:
        missing_head: the head started afresh (the file has none, or one for other classes).
        keys: names of the tensors taken from the file.
        metadata: of the file, text to text; empty for `.pth`.
        skipped: how many tensors of the file are of no part of the network.

    >>> Loaded(False, ("head.weight",), {}).missing_head
    False
    """

    missing_head: bool
    keys: tuple[str, ...]
    metadata: dict[str, str]
    skipped: int = 0


def load_weights(network: nn.Module, path: Path | str) -> Loaded:
    """Load weights from `.safetensors` or `.pth`, the head afresh if its classes differ.

    Half precision is widened to the network's own type. A head that does not fit starts at zero.

    Raises:
        UsageError: no such file, or neither kind of name.
        RefusedError: the file is damaged, hostile, too large, or of another network.

    >>> import tempfile; from safetensors.torch import save_file
    >>> from polyak.networks.compact import Compact
    >>> file = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> save_file(Compact(2, (8, 8)).state_dict(), file)
    >>> load_weights(Compact(3, (8, 8)), file).missing_head
    True
    """
    path = Path(path)
    check_path(path)
    _check_size(path, network)
    if path.suffix == ".safetensors":
        tensors, metadata = _safetensors(path)
        return fill(network, tensors, path, metadata)
    return fill(network, read_pickle(path, path), path)


def metadata_of(path: Path | str) -> dict[str, str]:
    """Read what a file of weights says of itself, without its tensors; {} where it says nothing.

    Whether the file can be used is for `load_weights` to tell.

    >>> metadata_of("no/such.safetensors")
    {}
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return {}


def compact_widths(path: Path | str) -> tuple[int, ...] | None:
    """Read the widths of a `Compact` off the shapes in a file of its weights; None if it is none.

    >>> compact_widths("no/such.safetensors")
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            stages = takewhile(names.__contains__, (STAGE.format(n) for n in count()))
            found = tuple(file.get_slice(name).get_shape()[0] for name in stages)
    except (SafetensorError, OSError, ValueError, IndexError):
        return None
    return found if found and "whitening" in names else None


def check_path(path: Path | str) -> None:
    """Refuse what cannot be a file of weights by its name and kind, before it is opened.

    Raises:
        UsageError: no such file, or neither kind of name.
        RefusedError: not a regular file.

    >>> check_path("nope.pth")
    Traceback (most recent call last):
    ...
    polyak.errors.UsageError: cannot read the weights: nope.pth: there is no such file. Next: give \
a .safetensors or .pth file, an earlier run, or 'hub'
    """
    path, why = Path(path), ""
    if path.suffix not in SUFFIXES and (path.suffix or path.exists()):
        why = "its name ends in neither .safetensors nor .pth"
    elif not path.exists():
        why = "there is no such file"
    if why:
        then = "give a .safetensors or .pth file, an earlier run, or 'hub'"
        raise UsageError("cannot read the weights", where=str(path), why=why, then=then)
    if not path.is_file():
        raise _refused(path, "not a regular file")


def _check_size(path: Path, network: nn.Module) -> None:
    limit = SIZE_SLACK + SIZE_FACTOR * sum(
        t.numel() * t.element_size() for t in network.state_dict().values()
    )
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(part.file_size for part in archive.infolist()))
    if size > limit:
        raise _refused(path, f"{size:,} bytes, too many for this network (at most {limit:,})")


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _refused(path, f"not a safetensors file ({error})") from error


def read_pickle(file: Path | BinaryIO, path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.pth` file by name; nothing in it is run.

    Args:
        file: to read from.
        path: where it lies, for what is said of it.

    Raises:
        RefusedError: damaged, hostile, or no table of tensors.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's keep their options
            found = torch.load(file, map_location="cpu", weights_only=True)
    # hostile bytes can raise anything at all, and none of it means more than "refused"
    except Exception as error:
        why = "it holds more than tensors, or is damaged; nothing in it was run"
        raise _refused(path, why) from error
    found = unwrapped(found)
    if not isinstance(found, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise _refused(path, "it is no table of names and tensors")
    return found


def fill(
    network: nn.Module,
    tensors: dict[str, Tensor],
    path: Path,
    metadata: dict[str, str] | None = None,
) -> Loaded:
    """Copy tensors into a network by name, every one accounted for; the network changes in place.

    Args:
        network: whose state_dict is filled.
        tensors: by the network's own names.
        path: of their file, for what is said of it.
        metadata: of the file.

    Raises:
        RefusedError: they are of another network; the network is as it was.
    """
    given, tensors = len(tensors), adapted(network, tensors)
    skipped = max(0, given - len(tensors))
    own = network.state_dict()
    heads = tuple(f"{name}." for name in head_names(network))
    head = [key for key in own if heads and key.startswith(heads)]
    missing_head = any(key not in tensors or tensors[key].shape != own[key].shape for key in head)
    ignored = (
        {k for k in {*own, *tensors} if heads and k.startswith(heads)} if missing_head else set()
    )
    # counters that only matter while the momentum of batch-norm is None; many files leave them out
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    differences = [
        *(f"{key} is missing" for key in own if key not in {*tensors, *ignored, *optional}),
        *(f"{key} is not in the network" for key in tensors if key not in {*own, *ignored}),
    ]
    taken = {key: tensors[key] for key in own if key in tensors and key not in ignored}
    differences += [f for k, t in taken.items() if (f := _difference(k, t, own[k]))]
    if differences:
        raise _refused(path, _unfit(network, tensors, differences))
    if missing_head:
        zero_head(network)
    with torch.no_grad():
        for key, tensor in taken.items():
            own[key].copy_(tensor)
    return Loaded(missing_head, tuple(taken), metadata or {}, skipped)


def _unfit(network: nn.Module, tensors: dict[str, Tensor], differences: list[str]) -> str:
    """Say how far a file fits, with a name of each side where it is of another network."""
    own = backbone_tensors(network)
    fit = fitting(own, tensors)
    if 2 * fit > len(own):
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        return "; ".join(differences[:5]) + more
    here = next((name for name in own if name not in tensors), next(iter(own), "nothing"))
    there = next((name for name in tensors if name not in own), "nothing")
    why = f"{fit} of {len(own)} tensors fit: it has {shown(there)[:80]}, the network {here}"
    return why + (f"; it would fit {name}" if (name := network_of(tensors)) else "")


def _difference(key: str, tensor: Any, own: Tensor) -> str:
    if tensor.shape != own.shape:
        return f"{key} is {tuple(tensor.shape)}, not {tuple(own.shape)}"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return f"{key} is not a plain tensor"
    if tensor.dtype.is_floating_point != own.dtype.is_floating_point or tensor.dtype.is_complex:
        return f"{key} is {tensor.dtype}, not {own.dtype}"
    if not bool(torch.isfinite(tensor).all()):
        return f"{key} holds a number that is not finite"
    return ""


def _refused(path: Path, why: str) -> RefusedError:
    return RefusedError(
        "refused the weights",
        where=str(path),
        why=why,
        kept="the network as it was",
        then="choose a file made for this network",
    )
