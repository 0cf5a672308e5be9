"""Model files and checkpoints: their containers, facts and tensors edited, their hash mended."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from attack.edits import Draw, damaged, edited, hostile
from polyak import tensor_file

Tensors = dict[str, torch.Tensor]


def mutated(file: Path, kind: str, draw: Draw) -> None:
    """Write a file of tensors again, changed."""
    if kind in ("bytes", "header"):
        data = file.read_bytes()
        file.write_bytes(damaged(data, draw) if kind == "bytes" else _header(data, draw))
        return
    with tensor_file.opened(file) as stored:
        facts, tensors = stored.facts, {name: stored.tensor(name) for name in stored.shapes}
    if kind in ("facts", "facts, no hash"):
        facts = edited(facts, draw)
    elif kind == "tensors":
        tensors = retouched(tensors, draw)
    if kind == "facts, no hash" or not isinstance(facts, dict):
        save_file(tensors, file, {tensor_file.KEY: json.dumps(facts)})
    else:
        tensor_file.write(file, tensors, facts)


KINDS = ("whole", "bytes", "header", "facts", "facts, no hash", "tensors")


def _header(data: bytes, draw: Draw) -> bytes:
    """Change what the container says of its tensors: shapes, types, places, its own length."""
    length = int.from_bytes(data[:8], "little")
    if not draw.integers(4):
        wrong = (0, 1, length - 1, length + 1, 2**31, 2**63, len(data))[draw.integers(7)]
        return wrong.to_bytes(8, "little") + data[8:]
    header: Any = edited(json.loads(data[8 : 8 + length]), draw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def retouched(tensors: Tensors, draw: Draw) -> Tensors:
    """Change one tensor: its numbers, shape, type or name."""
    names = sorted(tensors)
    name, other = (names[draw.integers(len(names))] for _ in range(2))
    value = tensors.pop(name)
    match draw.integers(12):
        case 0:
            return tensors
        case 1:
            name = str(hostile(draw))[:100].replace("\ud800", "?")
        case 2:
            value = value.double()
        case 3:
            value = value.to(torch.bfloat16)
        case 4:
            value = value.to(torch.int64)
        case 5:
            value = value.reshape(-1)
        case 6:
            value = value[:1] if value.ndim else value.reshape(1)
        case 7:
            value = torch.cat([value, value]) if value.ndim else value.repeat(3)
        case 8:
            name, tensors[name] = other, tensors.get(other, value)
        case _:
            worst = (torch.nan, torch.inf, 3e38, -3e38, 0.0, 1e20)[draw.integers(6)]
            value = value.clone()
            if value.is_floating_point():
                value.view(-1)[: int(draw.integers(1, 1 + max(1, value.numel())))] = worst
            else:
                value.fill_(int(draw.integers(-5, 10**6)))
    return tensors | {name: value}
