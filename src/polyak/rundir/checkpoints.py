"""Checkpoints that survive kill -9: written aside, hashed, renamed; the two newest are kept."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from polyak.errors import RefusedError
from polyak.files import write_atomic

KEPT = 2


def save(folder: Path, step: int, state: dict) -> None:
    """Save a nested state of tensors, numbers and texts; older checkpoints go after it is durable.

    Args:
        folder: the run's checkpoint folder.
        step: counts optimizer steps; names the file.
        state: dicts, lists, tensors, numbers, texts, None.

    Raises:
        DiskError: the disk refused; the checkpoints before stand.
    """
    entries = manifest(folder)
    if any(entry["step"] == step for entry in entries):
        return  # a durable file is never written over
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(pack(state, tensors))
    path = folder / f"step-{step:09d}.safetensors"
    write_atomic(path, lambda temporary: save_file(tensors, temporary, {"polyak": tree}))
    entries = [*entries, {"file": path.name, "step": step, "sha256": digest(path)}][-KEPT:]
    _write_manifest(folder, entries)
    kept = {entry["file"] for entry in entries}
    for old in folder.glob("*step-*"):
        if old.name not in kept and not old.name.endswith(".damaged"):
            old.unlink(missing_ok=True)


def newest(folder: Path) -> tuple[dict | None, list[str]]:
    """Load the newest checkpoint whose hash is right; set damaged ones aside.

    Returns:
        (state or None, one line for every checkpoint that was set aside).

    Raises:
        RefusedError: there are checkpoints, and every one of them is damaged.
    """
    lines = []
    entries = manifest(folder)
    for entry in reversed(entries):
        path = folder / entry["file"]
        try:
            if digest(path) != entry["sha256"]:
                raise ValueError("its hash is not the one in the manifest")
            return load(path), lines
        except (OSError, ValueError, KeyError) as error:
            if path.exists():
                path.rename(path.with_name(path.name + ".damaged"))
            _write_manifest(folder, [e for e in manifest(folder) if e != entry])
            lines.append(f"checkpoint {path.name} is damaged ({error}) and was set aside")
    if entries:
        raise RefusedError(
            "no checkpoint can be used",
            where=str(folder),
            why="; ".join(lines),
            kept="the damaged files, set aside",
            then="start again under another --name",
        )
    return None, lines


def manifest(folder: Path) -> list[dict]:
    """Read the list of durable checkpoints, oldest first; an unreadable list counts as empty."""
    try:
        entries = json.loads((folder / "manifest.json").read_text())
        return [
            {"file": Path(str(e["file"])).name, "step": int(e["step"]), "sha256": str(e["sha256"])}
            for e in entries
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write_manifest(folder: Path, entries: list[dict]) -> None:
    write_atomic(folder / "manifest.json", json.dumps(entries, indent=1))


def load(path: Path) -> dict:
    """Read one checkpoint file back into the state that was saved."""
    try:
        with safe_open(path, framework="pt") as file:
            tree = json.loads(file.metadata()["polyak"])
            return unpack(tree, file.get_tensor)
    except (RecursionError, TypeError, SafetensorError) as error:
        raise ValueError(str(error)) from error


def digest(path: Path) -> str:
    """Hash a file with SHA-256.

    >>> import tempfile
    >>> empty = Path(tempfile.mkstemp()[1]); digest(empty)[:8]
    'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(value: Any, tensors: dict[str, torch.Tensor], name: str = "") -> Any:
    """Replace every tensor of a nested state by a reference, and collect the tensors by path.

    >>> found = {}
    >>> pack({"a": torch.ones(1), 3: [1.5, None]}, found)
    {'entries': [['a', {'tensor': 'a'}], [3, [1.5, None]]]}
    >>> list(found)
    ['a']
    """
    if isinstance(value, torch.Tensor):
        # a clone: safetensors refuses memory shared between names, and tied weights share it
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        prefix = f"{name}/" if name else ""
        return {"entries": [[k, pack(v, tensors, f"{prefix}{k}")] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [pack(v, tensors, f"{name}/{i}") for i, v in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: a {type(value).__name__} cannot be saved")


def unpack(tree: Any, tensor) -> Any:
    """Undo `pack`; tuples come back as lists.

    >>> unpack({"entries": [[0, {"tensor": "0"}]]}, {"0": "the tensor"}.get)
    {0: 'the tensor'}
    """
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensor(tree["tensor"])
        return {k: unpack(v, tensor) for k, v in tree["entries"]}
    if isinstance(tree, list):
        return [unpack(v, tensor) for v in tree]
    return tree
