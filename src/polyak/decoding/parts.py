"""Where the compressed data of the first image lie, in WebP and GIF."""

from collections.abc import Iterator

from polyak.decoding.pillow import open_pillow
from polyak.decoding.unreadable import Unreadable


def webp_parts(data: bytes) -> list[tuple[int, int]]:
    r"""Find the data of a WebP's first frame, transparency included: (start, stop).

    >>> webp_parts(b"RIFF\x14\0\0\0WEBPVP8L\x05\0\0\0abcde\0")
    [(20, 25)]
    """
    return list(_webp(data, 12, len(data)))


def _webp(data: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    while at + 8 <= end:
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start, stop = at + 8, min(at + 8 + length, end)
        if name == b"ANMF":
            yield from _webp(data, start + 16, stop)
        if name in (b"ALPH", b"VP8 ", b"VP8L"):
            yield start, stop
        if name in (b"ANMF", b"VP8 ", b"VP8L"):
            return
        at = stop + length % 2


def gif_parts(data: bytes) -> list[tuple[int, int]]:
    r"""Find the data of a GIF's first frame, with the lengths of its blocks: (start, stop).

    >>> gif_parts(b"GIF89a" + b"\x01\0\x01\0\x80\0\0" + b"\xff\0\0" + bytes(3)
    ...           + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;")
    [(30, 33)]

    Raises:
        Unreadable: there are none, which Pillow makes an image of one colour of.
    """
    with open_pillow(data, "GIF") as image:  # which passes over what is no block
        start = at = image.tile[0].offset
    while at < len(data) and data[at]:
        at += 1 + data[at]
    if at == start:
        raise Unreadable("truncated GIF: its first frame has no data")
    return [(start, min(at, len(data)))]
