"""WebP's compressed data, which carry no sum: whether the image needs them to the end.

libwebp refuses data that are shorter than the image needs, by a byte or by many, and says nothing
of data that are longer. Where the end was overwritten with bytes that are all alike, the rest of
the image comes out of the first few of them. So the data are cut short by a little: of an image
that is whole nothing can be decoded then.
"""

import struct
from collections.abc import Iterator

import numpy as np

from polyak.decoding.fill import Decode, Parts, fills
from polyak.decoding.unreadable import Unreadable

_SPARE = 6  # bytes: encoders leave three of them, at most, to fill the coder's last word


def check_webp(data: bytes, parts: Parts, pixels: np.ndarray, decode: Decode) -> None:
    """Refuse an image with bytes alike in its data, or a flat end, that needs less than it has.

    Args:
        data: the whole file.
        parts: where the compressed data of its first frame lie, transparency first.
        pixels: what it decodes to.
        decode: how; raises where data are missing.

    Raises:
        Unreadable: its compressed data hold what is not of the image, or are of another size.
    """
    _check_frame(data, parts)
    if not _flat(pixels[-8:]) and not any(fills(data, parts)):
        return
    for shorter in _shorter(data, parts):
        try:
            decode(shorter)
        except Exception:  # as it should be
            continue
        raise Unreadable("truncated WebP: the end of its compressed data is not of the image")


def _check_frame(data: bytes, parts: Parts) -> None:
    """Refuse an animation whose first frame is of another size: libwebp leaves the rest empty."""
    before = parts[0][0] - 32 if parts else 0  # a frame's head, then that of its first part
    if before < 0 or data[before : before + 4] != b"ANMF":
        return
    start = parts[-1][0]
    sides = (data[at : at + 3] for at in (before + 14, before + 17))
    announced = tuple(int.from_bytes(side, "little") + 1 for side in sides)
    if data[start - 8 : start - 4] == b"VP8L":
        bits = int.from_bytes(data[start + 1 : start + 5], "little")
        found = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        found = tuple(side & 0x3FFF for side in struct.unpack_from("<HH", data, start + 6))
    if announced != found:
        raise Unreadable("broken WebP: a frame of another size")


def _shorter(data: bytes, parts: Parts) -> Iterator[bytes]:
    """Give a file of the first frame alone for each of its parts, that part cut short."""
    bodies = [(data[start - 8 : start - 4], data[start:stop]) for start, stop in parts]
    for i, (name, body) in enumerate(bodies):
        cut = body[
            : max(len(body) - _SPARE, 0) // 2 * 2
        ]  # libwebp reads the byte that fills a pair
        if name != b"VP8 " or len(cut) > _behind_modes(body):
            yield _file([*bodies[:i], (name, cut), *bodies[i + 1 :]])


def _behind_modes(body: bytes) -> int:
    """Say where a lossy image's coefficients begin; without any libwebp may take none."""
    return 10 + (int.from_bytes(body[:3], "little") >> 5)


def _file(bodies: list[tuple[bytes, bytes]]) -> bytes:
    if len(bodies) > 1:  # transparency and a lossy image
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", bodies[-1][1], 6))
        across, down = ((side - 1).to_bytes(3, "little") for side in (width, height))
        bodies = [(b"VP8X", b"\x10\0\0\0" + across + down), *bodies]
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for name, body in bodies
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _flat(rows: np.ndarray) -> bool:
    """Tell rows most of whose columns, or all of whose pixels in a row, are alike, or in the last
    block of eight columns.
    """
    right = rows.shape[1] // 8 * 8
    return _alike(rows, 0.5) or _alike(rows[:, -8:]) or _alike(rows[:, max(right - 8, 0) : right])


def _alike(rows: np.ndarray, most: float = 0.999) -> bool:
    if rows.size == 0:
        return False
    down, across = np.ptp(rows, axis=0).max(1) <= 1, np.ptp(rows, axis=1).max(1) <= 1
    return down.mean() > most or bool(across.all())
