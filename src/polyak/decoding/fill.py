"""Compressed data that were overwritten: what some decoders take for an image with a flat end.

GIF and TIFF carry no sum of their compressed data, and bytes that are all alike decode
to something in each of them. But then the decoder is done before the data are: changing their last
bytes changes no pixel. So a few bytes are changed and the image is decoded again, where there is
something to be afraid of.
"""

from collections.abc import Callable, Iterator

import numpy as np

from polyak.decoding.unreadable import Unreadable

Parts = list[tuple[int, int]]  # (start, stop) of compressed data, in the order of the file
Decode = Callable[[bytes], np.ndarray]

_SHORTEST = 6  # bytes alike; fewer are common in data that are whole
_ROWS = 64  # of two images, compared at once


def check_fill(data: bytes, parts: Parts, pixels: np.ndarray, decode: Decode) -> None:
    """Refuse an image of which a part was made from fill.

    Of whole data all bytes matter, or a fill is mere padding, and none of it does.

    Args:
        data: the whole file.
        parts: where its compressed data lie.
        pixels: what it decodes to.
        decode: how; may raise.

    Raises:
        Unreadable: the first bytes of a fill matter, the last do not.
    """
    found = list(fills(data, parts))
    longest = sorted(found, key=lambda fill: fill[1] - fill[0])[-1:]
    for start, stop in {*longest, *found[-1:]}:
        last, first = (stop - 3, stop - 4), (start + 1,)
        if not _matter(data, last, pixels, decode) and _matter(data, first, pixels, decode):
            raise Unreadable("truncated: its compressed data were overwritten")


def fills(data: bytes, parts: Parts) -> Iterator[tuple[int, int]]:
    r"""Find bytes in compressed data that are alike, some in a row: (start, stop).

    >>> list(fills(b"abcdefg" + bytes(9) + b"h", [(3, 17)]))
    [(7, 16)]
    """
    for start, stop in parts:
        content = np.frombuffer(data, np.uint8)[start:stop]
        changes = np.flatnonzero(content[1:] != content[:-1]) + 1
        edges = np.concatenate([[0], changes, [len(content)]])
        for i in np.flatnonzero(np.diff(edges) >= _SHORTEST).tolist():
            yield start + int(edges[i]), start + int(edges[i + 1])


def _matter(data: bytes, positions: tuple[int, ...], pixels: np.ndarray, decode: Decode) -> bool:
    """Tell whether any pixel changes with any of some bytes."""
    for position in positions:
        changed = bytearray(data)
        changed[position] ^= 0xFF
        try:
            other = decode(bytes(changed))
        except Exception:  # as good as other pixels
            return True
        if other.shape != pixels.shape or _differ(other, pixels):
            return True
    return False


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    tops = range(0, len(one), _ROWS)
    return any((one[top : top + _ROWS] != other[top : top + _ROWS]).any() for top in tops)
