"""A JPEG written anew: nothing in it that pixels are not made of, and all of it accounted for."""

import re
from functools import cache

import numpy as np
import simplejpeg

from polyak.decoding import huffman
from polyak.decoding.jpeg import (
    APP0,
    APP14,
    FRAMES,
    HUFFMAN,
    LOSSLESS,
    PROGRESSIVE,
    QUANTISERS,
    RESTARTS,
    SCAN,
    Scan,
    Structure,
    parse,
)
from polyak.decoding.unreadable import Unreadable

_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"
_MOST_STRAY = 16  # bytes behind a scan's last block that may be anything; more is lost data
_FROM_FILL = 3  # bytes of a scan's last blocks that are those of the fill; two may be by chance
_RESTART = re.compile(rb"\xff+([\xd0-\xd7])")
_STUFFED = re.compile(rb"\xff+\0")


def cleaned(data: bytes) -> bytes:
    """Write a JPEG anew: tables, frame and compressed data, each code of which is accounted for.

    Raises:
        Unreadable: its compressed data end early or hold what is not of the image.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (8, 8)).save(file, "JPEG", comment="a comment")
    >>> data = file.getvalue()
    >>> len(data) - len(cleaned(data))  # a comment is no pixel
    13
    """
    whole = parse(data, pixel_cap=1 << 32)
    codes, scans = _Codes(whole), iter(whole.scans)
    out = [b"\xff\xd8"]
    for segment in whole.segments:
        payload, body = data[segment.start : segment.stop], b""
        if segment.marker == HUFFMAN:
            codes.learn(payload)
        elif segment.marker == RESTARTS:
            codes.every = int.from_bytes(payload, "big")
        elif segment.marker == SCAN:
            body = codes.read(next(scans), data[segment.stop : segment.end])
            if whole.jpeg.kind not in (PROGRESSIVE, LOSSLESS):
                payload = payload[:-3] + b"\0\x3f\0"  # what others say here is of no effect
        elif segment.marker in (APP0, APP14):
            payload = _colours(segment.marker, payload, whole.jpeg.planes)
        elif segment.marker not in (*FRAMES, QUANTISERS):
            continue
        length = (len(payload) + 2).to_bytes(2, "big")
        out += [b"\xff", bytes([segment.marker]), length, payload, body]
    return b"".join([*out, b"\xff\xd9"])


def _colours(marker: int, payload: bytes, components: int) -> bytes:
    """Keep of an application's segment what libjpeg tells the colours by, in a form it knows."""
    if marker == APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
        return _JFIF
    if marker == APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
        usual = 1 if components == 3 else 2  # YCbCr, YCCK: what libjpeg takes the unknown for
        return payload[:11] + bytes([payload[11] if payload[11] in (0, usual) else usual])
    return b""


class _Codes:
    """What a decoder remembers from segment to segment: tables, restarts, coefficients not zero."""

    def __init__(self, whole: Structure):
        self.jpeg, self.components, self.every = whole.jpeg, whole.components, 0
        self._tables = _usual_tables().copy()
        self._seen: dict[int, np.ndarray] = {}

    def learn(self, payload: bytes) -> None:
        """Take the Huffman tables of a segment."""
        _learn(self._tables, payload)

    def read(self, scan: Scan, body: bytes) -> bytes:
        """Follow a scan to its end: its compressed data, without what lies behind the last block.

        Raises:
            Unreadable: they end early or hold what is not of the image.
        """
        kind, mcus = self._kind(scan), self._mcus(scan)
        every = self.every or mcus
        pieces, marks = _intervals(body, -(-mcus // every))
        edges = np.cumsum([0, *map(len, pieces)])
        stream = np.frombuffer(b"".join([*pieces, bytes(8)]), np.uint8)
        plan = np.array([kind, mcus, every, scan.first, scan.last])
        used = huffman.walk(stream, edges, plan, self._tables, *self._planes(kind, scan, mcus))
        kept = [_kept(piece, bits) for piece, bits in zip(pieces, used.tolist(), strict=True)]
        return b"".join(part for both in zip(kept, marks, strict=True) for part in both)

    def _kind(self, scan: Scan) -> int:
        if self.jpeg.kind == LOSSLESS:
            return huffman.LOSSLESS
        if self.jpeg.kind != PROGRESSIVE:
            return huffman.SEQUENTIAL
        if scan.first == 0 == scan.last:
            return huffman.DC_MORE if scan.high else huffman.DC_FIRST
        if not 1 <= scan.first <= scan.last <= 63 or len(scan.planes) != 1:
            raise Unreadable("broken JPEG: an impossible scan")
        return huffman.AC_MORE if scan.high else huffman.AC_FIRST

    def _mcus(self, scan: Scan) -> int:
        """Count what a scan is made of: blocks of one plane, or groups of blocks of several."""
        side = 1 if self.jpeg.kind == LOSSLESS else 8
        planes = self.components
        across, down = max(c.across for c in planes), max(c.down for c in planes)
        height, width = self.jpeg.stored
        first, *others = (planes[plane] for plane, _, _ in scan.planes)
        if not others:
            height, width = -(-height * first.down // down), -(-width * first.across // across)
            across = down = 1
        return -(-height // (side * down)) * -(-width // (side * across))

    def _planes(self, kind: int, scan: Scan, mcus: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the tables of each block of an MCU, and the plane's coefficients that are known."""
        if any(table > 3 for plane in scan.planes for table in plane[1:]):
            raise Unreadable("broken JPEG: no such Huffman table")
        blocks, known = [], np.zeros(1, np.uint64)
        for plane, dc, ac in scan.planes:
            component = self.components[plane]
            several = component.across * component.down if len(scan.planes) > 1 else 1
            blocks += [(dc, 4 + ac)] * several
            if kind in (huffman.AC_FIRST, huffman.AC_MORE):  # of one plane each
                known = self._seen.setdefault(plane, np.zeros(mcus, np.uint64))
        return np.array(blocks), known


@cache
def _usual_tables() -> np.ndarray:
    """Give the tables that libjpeg takes where a JPEG brings none: those that it writes."""
    tables = np.zeros((8, 1 << 16), np.uint16)
    usual = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    for segment in parse(usual).segments:
        if segment.marker == HUFFMAN:
            _learn(tables, usual[segment.start : segment.stop])
    return tables


def _learn(tables: np.ndarray, payload: bytes) -> None:
    at = 0
    while at < len(payload):
        kind, number = payload[at] >> 4, payload[at] & 15
        counts = payload[at + 1 : at + 17]
        end = at + 17 + sum(counts)
        if kind > 1 or number > 3 or end > len(payload):
            raise Unreadable("broken JPEG: no Huffman table")
        tables[4 * kind + number] = huffman.table(counts, payload[at + 17 : end])
        at = end


def _intervals(body: bytes, wanted: int) -> tuple[list[bytes], list[bytes]]:
    """Part compressed data at their restart markers: the pieces, and what stands behind each."""
    *pieces, last = _RESTART.split(body)
    pieces, marks = [*pieces[::2], last], [b"\xff" + mark for mark in pieces[1::2]]
    if len(pieces) == wanted + 1 and not last:  # a marker behind the last block is of no effect
        del pieces[-1], marks[-1]
    if len(pieces) != wanted or any(mark[1] != 0xD0 + i % 8 for i, mark in enumerate(marks)):
        raise Unreadable("broken JPEG: parts of its compressed data are missing")
    stuffed = b"\xff\xff" in body
    plain = [
        _STUFFED.sub(b"\xff", piece) if stuffed else piece.replace(b"\xff\0", b"\xff")
        for piece in pieces
    ]
    return plain, [*marks, b""]


def _kept(piece: bytes, used: int) -> bytes:
    """Give the bytes of an interval that hold blocks, stuffed, and judge what lies behind them.

    Encoders fill the last byte with ones, and some cameras add a fill. Where data have been
    overwritten, the last blocks are read from the fill itself.
    """
    if used < 0:
        raise Unreadable("truncated JPEG: its compressed data end early or are damaged")
    end = -(-used // 8)
    kept, rest = piece[:end], piece[end:]
    if rest:
        ones = (1 << (-used % 8)) - 1
        fill = not rest.strip(rest[:1])
        lost = kept.endswith(rest[:1] * _FROM_FILL) if fill else len(rest) > _MOST_STRAY
        if lost or kept[-1] & ones != ones:
            raise Unreadable("broken JPEG: its compressed data hold something else")
    return kept.replace(b"\xff", b"\xff\0")
