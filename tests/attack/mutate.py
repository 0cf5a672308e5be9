"""What happens to files: cut, zeroed, filled, flipped, spliced, their headers edited."""

import struct
import zlib
from collections.abc import Callable

import numpy as np

from attack.bases import Base, png_chunk

Draw = np.random.Generator
ENDS = {"JPEG": b"\xff\xd9", "PNG": png_chunk(b"IEND", b""), "GIF": b"\0;"}


def _start(base: Base) -> int:
    """Where the compressed data begin, roughly: mutations of data lie behind."""
    if base.format == "JPEG":
        return base.data.rfind(b"\xff\xda") if b"\xff\xc2" not in base.data else len(base.data) // 3
    return min(len(base.data) // 3, 600)


def _cut(base, other, draw):
    return base.data[: draw.integers(1, len(base.data))]


def _cut_and_closed(base, other, draw):
    cut = base.data[: draw.integers(_start(base), len(base.data))]
    if base.format == "WEBP":
        return mended_riff(cut)
    return cut + ENDS.get(base.format, b"")


def mended_riff(data: bytes) -> bytes:
    """Make the lengths of a cut WebP fit what is left of it."""
    if len(data) < 20:
        return data
    data = bytearray(data + b"\0" * (len(data) % 2))
    struct.pack_into("<I", data, 4, len(data) - 8)
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        if at + 8 + length > len(data):
            struct.pack_into("<I", data, at + 4, len(data) - at - 8)
            break
        at += 8 + length + length % 2
    return bytes(data)


def _filled(base, start, stop, value):
    end = len(ENDS.get(base.format, b""))
    stop = min(stop, len(base.data) - end)
    if start >= stop:
        return base.data
    return base.data[:start] + bytes([value]) * (stop - start) + base.data[stop:]


def _zero_tail(base, other, draw):
    start = draw.integers(_start(base), len(base.data))
    return _filled(base, start, len(base.data), 0)


def _zero_middle(base, other, draw):
    start, stop = sorted(draw.integers(_start(base), len(base.data), 2).tolist())
    return _filled(base, start, stop, 0)


def _filled_tail(base, other, draw):
    start = draw.integers(_start(base), len(base.data))
    return _filled(base, start, len(base.data), draw.integers(256))


def _flipped(base, other, draw):
    data = bytearray(base.data)
    for at in draw.integers(0, len(data), draw.integers(1, 9)).tolist():
        data[at] ^= 1 << draw.integers(8)
    return bytes(data)


def _spliced(base, other, draw):
    one, two = base.data, other.data
    a, b = sorted(draw.integers(0, len(one), 2).tolist())
    c, d = sorted(draw.integers(0, len(two), 2).tolist())
    kinds = (one[:a] + one[b:], one[:b] + one[a:], one[:a] + two[c:d] + one[b:], one[:a] + two[c:])
    return kinds[draw.integers(len(kinds))]


def _header(base, other, draw):
    """Set some bytes before the compressed data to what parsers are afraid of."""
    data = bytearray(base.data)
    for at in draw.integers(2, max(3, min(len(data), _start(base) + 20)), draw.integers(1, 4)):
        data[at] = (0, 1, 2, 3, 4, 8, 127, 128, 255, draw.integers(256))[draw.integers(10)]
    return _summed(bytes(data)) if base.format == "PNG" else bytes(data)


def _sizes(base, other, draw):
    """Change the height or the width that a file tells: what is there no longer fits."""
    data, side = bytearray(base.data), int(draw.integers(1, 300))
    tall = bool(draw.integers(2))
    if base.format == "JPEG":
        for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2", b"\xff\xc3"):
            at = data.find(marker)
            if at > 0:
                struct.pack_into(">H", data, at + (5 if tall else 7), side)
    elif base.format == "PNG":
        struct.pack_into(">I", data, 20 if tall else 16, side)
        return _summed(bytes(data))
    elif base.format == "GIF":
        at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
        while data[at] == 0x21:
            at += 2
            while data[at]:
                at += 1 + data[at]
            at += 1
        for place in (6, at + 5):
            struct.pack_into("<H", data, place + 2 * tall, side)
    elif base.format == "BMP":
        struct.pack_into("<i", data, 22 if tall else 18, side)
    elif base.format == "WEBP":
        at = data.find(b"\x9d\x01\x2a")
        if at > 0:
            struct.pack_into("<H", data, at + 3 + 2 * tall, side)
    else:
        tiff_tag(data, 257 if tall else 256, side)
    return bytes(data)


def tiff_tag(data: bytearray, wanted: int, value: int) -> None:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2 if order == "<" else 3] == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    for i in range(min(count, 60)):
        at = start + (8 + 20 * i if big else 2 + 12 * i)
        if struct.unpack_from(order + "H", data, at)[0] == wanted:
            struct.pack_into(order + "H", data, at + (12 if big else 8), value)


def _summed(data: bytes) -> bytes:
    """Write the sums of a PNG's chunks anew."""
    data, at = bytearray(data), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        struct.pack_into(">I", data, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(data)


def _summed_flips(base, other, draw):
    data = _flipped(base, other, draw)
    return _summed(data) if base.format == "PNG" else data


def _whole(base, other, draw):
    return base.data


KINDS: dict[str, Callable[[Base, Base, Draw], bytes]] = {
    "whole": _whole,
    "cut": _cut,
    "cut, closed": _cut_and_closed,
    "zero tail": _zero_tail,
    "zero middle": _zero_middle,
    "filled tail": _filled_tail,
    "flipped": _summed_flips,
    "spliced": _spliced,
    "header": _header,
    "sizes": _sizes,
}
