"""Tensors and facts in one safetensors file, no pickle, sealed by a hash of all that it says."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from polyak.files import write_atomic

KEY, SEAL = "polyak", "sha256"


def write(path: Path, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> str:
    """Write tensors and facts: same content, same bytes.

    Args:
        path: where the file goes; written whole or not at all.
        tensors: by name, on any device, in any memory order.
        facts: JSON.

    Returns:
        Its seal, the hash of its content.

    Raises:
        DiskError: the disk refused.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> _ = write(file, {"x": torch.ones(2)}, {"step": 3})
    >>> with opened(file) as stored:
    ...     stored.check(); stored.facts, stored.tensor("x").tolist()
    ({'step': 3}, [1.0, 1.0])
    """
    # clones: safetensors refuses memory shared between names, and tied weights share it
    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    facts = json.loads(json.dumps(facts))  # as it will be read: text keys, lists
    sealed = seal(facts, plain, plain.__getitem__)
    # one key only: safetensors writes several in an order that changes from run to run
    text = json.dumps(facts | {SEAL: sealed}, sort_keys=True)
    write_atomic(path, lambda temporary: save_file(plain, temporary, {KEY: text}))
    return sealed


def seal(facts: dict[str, Any], names: Iterable[str], tensor: Callable[[str], Tensor]) -> str:
    """Hash facts and tensors, each with its name, type and shape, by SHA-256.

    >>> seal({}, [], {}.get)[:8]
    '44136fa3'
    """
    hashed = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(names):
        value = tensor(name)
        hashed.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        hashed.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def finite(value: Tensor) -> bool:
    """Tell whether every number of a tensor is finite, in one pass; integers are.

    >>> finite(torch.ones(2)), finite(torch.tensor([1.0, torch.nan])), finite(torch.zeros(0))
    (True, False, True)
    """
    if not value.is_floating_point() or not value.numel():
        return True
    least, most = torch.aminmax(value)  # which a NaN becomes both of
    return bool(least > -torch.inf) and bool(most < torch.inf)


class Stored:
    """An opened file of tensors; nothing but its header was read.

    Args:
        file: opened by safetensors, which has checked that names and shapes fit its length.
        facts: what the header says, without the seal.
        sealed: the seal, "" in a file from before there was one.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> _ = write(path, {"x": torch.ones(2)}, {"step": 3})
    >>> with opened(path) as stored:
    ...     stored.facts, stored.shapes, stored.tensor("x").tolist()
    ({'step': 3}, {'x': (2,)}, [1.0, 1.0])
    """

    def __init__(self, file: Any, facts: dict[str, Any], sealed: str):
        self._file = file
        self.facts: dict[str, Any] = facts
        self.sealed: str = sealed
        self.shapes: dict[Any, tuple[Any, ...]] = {
            name: tuple(file.get_slice(name).get_shape()) for name in file.keys()
        }

    def tensor(self, name: str) -> Tensor:
        """Read one tensor.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self.shapes:
            raise ValueError(f"it has no tensor {str(name)[:80]!r}")
        return self._file.get_tensor(name)

    def check(self) -> None:
        """Compare the content with the seal; a file from before there were seals has none.

        Raises:
            ValueError: they differ.
        """
        if self.sealed and seal(self.facts, self.shapes, self._file.get_tensor) != self.sealed:
            raise ValueError("it is damaged: its content is not what was written")


@contextmanager
def opened(path: Path) -> Iterator[Stored]:
    """Open a file that `write` made.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or damaged.

    >>> with opened(Path(__file__)): pass
    Traceback (most recent call last):
    ...
    ValueError: it is no safetensors file: ...
    """
    with path.open("rb"):  # safetensors has errors of its own for what the system refuses
        pass
    try:
        file = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(f"it is no safetensors file: {error}") from error
    with file:
        text = (file.metadata() or {}).get(KEY)
        if text is None:
            raise ValueError("it has no polyak header")
        try:
            facts = json.loads(text)
        except RecursionError as error:
            raise ValueError("its header is nested too deeply") from error
        if not isinstance(facts, dict):
            raise ValueError("its header is no page of names and values")
        sealed = facts.pop(SEAL, "")
        if not isinstance(sealed, str):
            raise ValueError("its hash is none")
        yield Stored(file, facts, sealed)
