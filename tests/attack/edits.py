"""What happens to nested values and to bytes: one place of them is changed, dropped or doubled."""

import copy
import math
from typing import Any

import numpy as np

Draw = np.random.Generator

# what readers are afraid of: numbers that no machine has, names that lead elsewhere, other types
HOSTILE = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e-320, 1e308,
    -1e308, math.nan, math.inf, -math.inf, "", "a", "1", "nan", "../x", "/etc/passwd", "x" * 10_000,
    "a\0b", "\x1b[2J", "\u202e", "\ud800", [], {}, [None], [[]], {"": None}, [1, 2, 3], ["a"] * 100,
)  # fmt: skip
DEPTHS = (50, 1_000, 100_000)


def edited(value: Any, draw: Draw) -> Any:
    """Give a copy of a nested value with one to three places changed."""
    value = copy.deepcopy(value)
    for _ in range(draw.integers(1, 4)):
        places = list(_places(value))
        if not places:
            return hostile(draw)
        _change(*places[draw.integers(len(places))], draw)
    return value


def hostile(draw: Draw) -> Any:
    """Draw a value that a reader did not expect."""
    return copy.deepcopy(HOSTILE[draw.integers(len(HOSTILE))])


def nested(draw: Draw) -> str:
    """Draw a text of JSON (and of YAML) that is nested deeply."""
    depth = DEPTHS[draw.integers(len(DEPTHS))]
    opening, closing = (("[", "]"), ('{"a":', "}"))[draw.integers(2)]
    return opening * depth + "1" * bool(draw.integers(2)) + closing * depth * bool(draw.integers(2))


def _places(value: Any):
    """List all places below a value: (container, key)."""
    pairs = value.items() if isinstance(value, dict) else ()
    pairs = enumerate(value) if isinstance(value, list) else pairs
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


def _change(container: Any, key: Any, draw: Draw) -> None:
    old = container[key]
    match draw.integers(7):
        case 0:
            del container[key]
        case 1:
            container[key] = [old, old]
        case 2 if isinstance(container, dict):
            container[str(hostile(draw))[:40]] = container.pop(key)
        case 3 if isinstance(container, list):
            container.append(copy.deepcopy(old))
        case 4 if type(old) in (int, float):
            container[key] = (old + 1, -old, old * 1000, old / 2, str(old))[draw.integers(5)]
        case 5 if isinstance(old, str):
            container[key] = (old + "x", old[:-1], old.upper(), [old])[draw.integers(4)]
        case _:
            container[key] = hostile(draw)


def damaged(data: bytes, draw: Draw) -> bytes:
    """Damage bytes as disks, transfers and editors do."""
    if not data:
        return b"\0"
    at, to = sorted(draw.integers(0, len(data), 2).tolist())
    match draw.integers(8):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes(to - at) + data[to:]
        case 2:
            return data[:at] + data[to:]
        case 3:
            return data[:to] + data[at:]
        case 4:
            return data[:at] + draw.bytes(int(draw.integers(1, 200))) + data[to:]
        case 5:
            return data + draw.bytes(int(draw.integers(1, 2000)))
        case 6:
            return bytes(draw.permutation(np.frombuffer(data, np.uint8)))
    flipped = bytearray(data)
    for place in draw.integers(0, len(data), draw.integers(1, 9)).tolist():
        flipped[place] ^= 1 << draw.integers(8)
    return bytes(flipped)
