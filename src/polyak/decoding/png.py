"""Whether a PNG's compressed data are there to the end: Pillow checks neither length nor sums."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from polyak.decoding.unreadable import Unreadable

_MOST_CHUNKS = 1 << 18
_PLANES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by type of colour
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_PASSES = (*_PASSES, (0, 1, 1, 2))  # first column and row, steps across and down
_PIECE = 1 << 20


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give each chunk up to the end of a PNG: its name, and where its content lies.

    Raises:
        Unreadable: the end is missing.
    """
    at = 8
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, at)
        stop = at + 8 + length
        if stop + 4 > len(data):
            break
        yield name, at + 8, stop
        if name == b"IEND":
            return
        at = stop + 4
    raise Unreadable("truncated PNG: its end is missing")


def check_png(data: bytes, image: Image.Image) -> None:
    """Refuse a PNG whose compressed data end early or were changed; `image` is what Pillow made.

    Rows that Pillow has no data for stay zero. So only where the last row is zero, or a sum does
    not fit, are the data unpacked once more and counted.
    """
    parts = [(start, stop) for name, start, stop in chunks(data) if name == b"IDAT"]
    unchanged = all(_sum_fits(data, start, stop) for start, stop in parts)
    interlaced = data[28]
    last = image.crop((0, image.height - 1, image.width, image.height))
    if unchanged and not interlaced and np.asarray(last).any():
        return
    length, whole = _unpacked(data, parts)
    if length < _expected(data) or not (whole or unchanged):
        raise Unreadable("truncated PNG: its compressed data end early or are damaged")


def _sum_fits(data: bytes, start: int, stop: int) -> bool:
    expected = int.from_bytes(data[stop : stop + 4], "big")
    return zlib.crc32(memoryview(data)[start - 4 : stop]) == expected


def _unpacked(data: bytes, parts: list[tuple[int, int]]) -> tuple[int, bool]:
    """Count what compressed data hold, and tell whether their own sum says that this is right."""
    unpack, length = zlib.decompressobj(), 0
    try:
        for start, stop in parts:
            rest = data[start:stop]
            while rest and not unpack.eof:
                length += len(unpack.decompress(rest, _PIECE))
                rest = unpack.unconsumed_tail
        return length, unpack.eof
    except zlib.error:
        return length, False


def _expected(data: bytes) -> int:
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits, total = depth * _PLANES[colour], 0
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total
