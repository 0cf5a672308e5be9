"""Checkpoints that survive kill -9: each says itself what it is, and the two newest are kept.

`manifest.json` is an index for people and programs. Nothing is believed because it stands there,
and nothing is lost with it: only checkpoints of polyak 0.1 have their hash there alone.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from polyak import tensor_file
from polyak.errors import DivergedError, RefusedError
from polyak.files import disk_error, read_json, write_atomic

KEPT = 2
LONGEST_NAME = 255  # bytes of a file's name
FORMAT = 2  # 1: the header is the state alone, the hash stands in the manifest
NAME = re.compile(r"step-(\d{9,18})\.safetensors")
OTHER_NAME = "start again under another --name"


def save(folder: Path, step: int, state: dict[str, Any], run: str = "") -> None:
    """Save a nested state of tensors, numbers and texts; older checkpoints go after it is durable.

    Args:
        folder: the run's checkpoint folder.
        step: counts optimizer steps; names the file.
        state: dicts, lists, tensors, numbers, texts, None.
        run: what tells the run from others, see `polyak.rundir.resume.identity`.

    Raises:
        DiskError: the disk refused; the checkpoints before stand.
        DivergedError: a tensor is not finite, and would take a good one's place.
    """
    path = folder / f"step-{step:09d}.safetensors"
    if _seal(path) is None:  # a durable file is never written over
        _write(path, step, state, run)
    good: list[Path] = []
    for other in found(folder):
        if len(good) >= KEPT:
            other.unlink(missing_ok=True)
        elif _seal(other) is not None:
            good.append(other)
    _write_manifest(folder, good)


def _write(path: Path, step: int, state: dict[str, Any], run: str) -> None:
    tensors: dict[str, torch.Tensor] = {}
    tree = pack(state, tensors)
    for name, value in tensors.items():
        if not tensor_file.finite(value):
            raise DivergedError(
                "training diverged",
                where=f"step {step}",
                why=f"{name} is not finite",
                kept="the checkpoints before",
                then="lower --learning-rate",
            )
    facts = {"format": FORMAT, "run": run, "step": step, "state": tree}
    tensor_file.write(path, tensors, facts)


def newest(
    folder: Path, run: str = "", largest: int | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Load the newest checkpoint whose hash is right; set damaged ones aside.

    Args:
        folder: the run's checkpoint folder.
        run: what the run is known by.
        largest: bytes that no checkpoint of it has.

    Returns:
        (state or None, one line for every checkpoint that was set aside or cannot be checked).

    Raises:
        RefusedError: there are checkpoints, and every one of them is damaged; or the newest is of
            another run, or of a newer polyak.
    """
    lines, index = [], {entry["file"]: entry["sha256"] for entry in manifest(folder)}
    unsure = [path for path in found(folder) if _seal(path) == "" and path.name not in index]
    # what has no hash comes last: it was whole when it got its name, and more cannot be said
    for path in [*(path for path in found(folder) if path not in unsure), *unsure]:
        try:
            state = load(path, index.get(path.name, ""), run, largest)
        except (ValueError, KeyError) as error:
            _set_aside(path)
            lines.append(f"checkpoint {path.name} is damaged ({error}) and was set aside")
            continue
        lines += [f"checkpoint {name} is gone" for name in _gone(folder, index, _step(path))]
        if path in unsure:
            lines.append(f"checkpoint {path.name} could not be checked: manifest.json is damaged")
        return state, lines
    lines += [f"checkpoint {name} is gone" for name in _gone(folder, index, -1)]
    lines += [f"{path.name} was set aside before" for path in folder.glob("step-*.damaged")]
    if not lines:
        return None, lines
    raise RefusedError(
        "no checkpoint can be used",
        where=str(folder),
        why="; ".join(lines),
        kept="the damaged files, set aside",
        then=OTHER_NAME,
    )


def _gone(folder: Path, index: dict[str, str], step: int) -> list[str]:
    """Name what the index knows of after a step, and the folder has no longer."""
    later = [name for name in index if not NAME.fullmatch(name) or _step(folder / name) > step]
    kept = [name for name in later if (folder / name).exists()]
    aside = [name for name in later if (folder / f"{name}.damaged").exists()]
    return [name for name in later if name not in (*kept, *aside)]


def found(folder: Path) -> list[Path]:
    """List the checkpoints of a folder by their names, newest first."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted((p for p in inside if NAME.fullmatch(p.name) and p.is_file()), key=_step)[::-1]


def manifest(folder: Path) -> list[dict[str, Any]]:
    """Read the list of durable checkpoints, oldest first; an unreadable list counts as empty."""
    try:
        return [
            {"file": _named(str(e["file"])), "step": int(e["step"]), "sha256": str(e["sha256"])}
            for e in read_json(folder / "manifest.json")
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _named(text: str) -> str:
    name = Path(text).name
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise ValueError("no file has so long a name")
    return name


def load(path: Path, sha256: str = "", run: str = "", largest: int | None = None) -> dict[str, Any]:
    """Read one checkpoint file back into the state that was saved.

    Args:
        path: the file.
        sha256: of a whole file of polyak 0.1, where that is known.
        run: what the run is known by; "" takes any.
        largest: bytes that it must not exceed.

    Raises:
        ValueError: it is damaged.
        RefusedError: it is whole, but of another run or a newer polyak.
    """
    with contextlib.ExitStack() as stack:
        try:
            size = path.stat().st_size
            if largest is not None and size > largest:
                raise ValueError(f"it has {size:,} bytes, more than any checkpoint of this run")
            stored = stack.enter_context(tensor_file.opened(path))
        except OSError as error:
            why, kept = error.strerror or str(error), "all checkpoints"
            raise RefusedError(
                "cannot read the checkpoint", where=str(path), why=why, kept=kept
            ) from error
        facts = stored.facts
        if "format" not in facts:  # polyak 0.1
            if sha256 and digest(path) != sha256:
                raise ValueError("its hash is not the one in the manifest")
            return _state(facts, stored)
        if facts["format"] != FORMAT:
            raise _not_ours(path, f"it is of format {facts['format']}", "upgrade polyak")
        stored.check()
        if not stored.sealed or facts["step"] != _step(path):
            raise ValueError("its hash is missing, or its name is not its own")
        if run and facts["run"] != run:
            why = "it belongs to another run, or config.yaml was changed"
            raise _not_ours(path, why, f"bring the run's own files back, or {OTHER_NAME}")
        return _state(facts["state"], stored)


def _state(tree: Any, stored: tensor_file.Stored) -> dict[str, Any]:
    """Unpack a state that takes every tensor of its file, and each once."""
    left = dict.fromkeys(stored.shapes)

    def take(name: str) -> torch.Tensor:
        if not isinstance(name, str) or name not in left:
            raise ValueError(f"it has no tensor {str(name)[:80]!r} left")
        del left[name]
        return stored.tensor(name)

    try:
        state = unpack(tree, take)
    except (RecursionError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error
    if left or not isinstance(state, dict):
        raise ValueError("its tensors are not those of its state")
    return state


def _not_ours(path: Path, why: str, then: str) -> RefusedError:
    what, kept = "the checkpoint is not of this run", "all checkpoints"
    return RefusedError(what, where=str(path), why=why, kept=kept, then=then)


def _step(path: Path) -> int:
    named = NAME.fullmatch(path.name)
    return int(named[1]) if named else -1


def _seal(path: Path) -> str | None:
    """Read a checkpoint's own hash, "" where it is from before there was one; None if no such."""
    try:
        with tensor_file.opened(path) as stored:
            return stored.sealed
    except (OSError, ValueError):  # `load` tells the one from the other
        return None


def _set_aside(path: Path) -> None:
    try:
        path.rename(path.with_name(path.name + ".damaged"))
    except OSError as error:
        raise disk_error(error, path) from error


def _write_manifest(folder: Path, paths: list[Path]) -> None:
    """Write the index anew from the files, and keep what only the old one knows."""
    index = {entry["file"]: entry["sha256"] for entry in manifest(folder)}
    entries = [
        {"file": path.name, "step": _step(path), "sha256": hashed}
        for path in reversed(paths)
        if (hashed := _seal(path) or index.get(path.name))
    ]
    write_atomic(folder / "manifest.json", json.dumps(entries, indent=1))


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
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, dict):
        prefix = f"{name}/" if name else ""
        return {"entries": [[k, pack(v, tensors, f"{prefix}{k}")] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [pack(v, tensors, f"{name}/{i}") for i, v in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: a {type(value).__name__} cannot be saved")


def unpack(tree: Any, tensor: Callable[[str], Any]) -> Any:
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
