"""Compressed data that were overwritten: what some decoders take for an image with a flat end.

GIF, WebP, TIFF and BMP carry no sum of their compressed data, and bytes that are all alike decode
to something in each of them. But then the decoder is done before the fill is: its last bytes mean
nothing, though its first ones do. Of data that are whole, either all bytes mean something, or a
fill is mere padding and none of it does.
"""

from collections.abc import Callable, Iterator

import numpy as np

from polyak.decoding.unreadable import Unreadable

_SHORTEST = 6  # bytes alike; fewer are common in data that are whole
_MOST = 4  # fills that are looked into, the longest


def check_fill(
    data: bytes,
    parts: list[tuple[int, int]],
    pixels: np.ndarray,
    decode: Callable[[bytes], np.ndarray],
) -> None:
    """Refuse an image of which a part was made from fill.

    Args:
        data: the whole file.
        parts: where its compressed data lie.
        pixels: what it decodes to.
        decode: how; may raise.

    Raises:
        Unreadable: the first bytes of a fill matter, the last do not.
    """

    def matters(position: int) -> bool:
        changed = bytearray(data)
        changed[position] ^= 0xFF
        try:
            other = decode(bytes(changed))
        except Exception:  # as good as other pixels
            return True
        return other.shape != pixels.shape or bool((other != pixels).any())

    fills = sorted(_fills(data, parts), key=lambda fill: fill[0] - fill[1])[:_MOST]
    for start, stop in fills:
        if not matters(stop - 3) and matters(start + 1):
            raise Unreadable("truncated: its compressed data were overwritten")


def _fills(data: bytes, parts: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, stop in parts:
        content = np.frombuffer(data, np.uint8)[start:stop]
        changes = np.flatnonzero(content[1:] != content[:-1]) + 1
        edges = np.concatenate([[0], changes, [len(content)]])
        for i in np.flatnonzero(np.diff(edges) >= _SHORTEST).tolist():
            yield start + int(edges[i]), start + int(edges[i + 1])
