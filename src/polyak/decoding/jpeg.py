"""How a JPEG is built: its frame and scans, found the way libjpeg finds them.

What libjpeg and this reader could understand differently (two frames, an image within the image) is
refused here, before a decoder sees it. So are the kinds whose decoders write more than they were
asked for, or whose end nobody can check.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polyak.decoding.exif import orientation_of
from polyak.decoding.unreadable import PIXEL_CAP, Unreadable, check_pixels

APP0, APP1, APP14 = 0xE0, 0xE1, 0xEE
HUFFMAN, QUANTISERS, RESTARTS = 0xC4, 0xDB, 0xDD
START, END, SCAN = 0xD8, 0xD9, 0xDA
PROGRESSIVE, LOSSLESS = 0xC2, 0xC3
FRAMES = (0xC0, 0xC1, PROGRESSIVE, LOSSLESS)

_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCC)  # SOF9 to SOF11, and the table of their contexts
_HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE, 0xDF)
_ALONE = (0x01, *range(0xD0, 0xD8))  # markers without a segment
_SKIPPED = (0xDC, 0xFE, *range(0xE0, 0xF0))  # number of lines, comment, applications
_MARKER = re.compile(rb"\xff[^\0\xff]")
_BEHIND_A_SCAN = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")
_MOST_SEGMENTS = 1 << 16
_MOST_SCANS = 500  # libjpeg-turbo's own tests stop there: each costs a pass over the image


class Segment(NamedTuple):
    """One segment: its marker's second byte, where its payload lies, where a scan's data end."""

    marker: int
    start: int
    stop: int
    end: int


class Component(NamedTuple):
    """One plane of the frame: its name, and how many samples it has across and down."""

    name: int
    across: int
    down: int


class Scan(NamedTuple):
    """One scan: (component, DC table, AC table) of its planes, and the coefficients that it brings.

    `first` to `last` in zigzag order; `high` and `low` are the bits that were known before and that
    are still to come (successive approximation).
    """

    planes: tuple[tuple[int, int, int], ...]
    first: int
    last: int
    high: int
    low: int


@dataclass(frozen=True)
class Jpeg:
    """Describe a JPEG file.

    Args:
        kind: the frame's marker, one of `FRAMES`.
        stored: (height, width), pixels.
        components: the planes.
        segments: all segments up to the end of the image, in their order.
        scans: of the segments that are scans, what they bring.
        orientation: EXIF orientation, 1 to 8.
    """

    kind: int
    stored: tuple[int, int]
    components: tuple[Component, ...]
    segments: tuple[Segment, ...]
    scans: tuple[Scan, ...]
    orientation: int

    @property
    def shrinkable(self) -> bool:
        """Whether libjpeg may decode it smaller: of a lossless one it would write all pixels."""
        return self.kind != LOSSLESS and len(self.components) in (1, 3)


def parse(data: bytes, pixel_cap: int = PIXEL_CAP) -> Jpeg:
    r"""Read the structure of a JPEG: 8 bits, Huffman-coded, one frame, all scans, an end.

    Bytes between segments are passed over, as libjpeg does.

    Raises:
        Unreadable: another kind of JPEG, too large, or broken.

    >>> from PIL import Image
    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (3, 2)).save(file, "JPEG")
    >>> jpeg = parse(file.getvalue())
    >>> jpeg.stored, len(jpeg.components), len(jpeg.scans)
    ((2, 3), 3, 1)
    """
    kind, stored, components = 0, (0, 0), ()
    segments, scans, orientation = [], [], 1
    for segment in _segments(data):
        marker, start, stop, _ = segment
        if marker in FRAMES:
            if kind:
                raise Unreadable("broken JPEG: two frames")
            kind = marker
            stored, components = _frame(data[start:stop], pixel_cap)
        elif marker == SCAN:
            scans.append(_scan(data[start:stop], components))
        elif marker in (HUFFMAN, QUANTISERS):
            _check_tables(marker, data[start:stop])
        elif marker == APP1 and data[start : start + 6] == b"Exif\0\0" and not scans:
            orientation = orientation_of(data[start + 6 : stop])
        segments.append(segment)
        if len(segments) > _MOST_SEGMENTS or len(scans) > _MOST_SCANS:
            raise Unreadable("broken JPEG: too many segments")
    if not scans:
        raise Unreadable("broken JPEG: no size" if not kind else "truncated JPEG: no scan")
    _check_all_there(kind, components, scans)
    return Jpeg(kind, stored, components, tuple(segments), tuple(scans), orientation)


def _segments(data: bytes) -> Iterator[Segment]:
    at = 2
    while found := _MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker == END:
            return
        if marker in _ALONE:
            continue
        _check_known(marker)
        length = int.from_bytes(data[at : at + 2], "big")
        start, at = at + 2, at + length
        if length < 2 or at > len(data):
            raise Unreadable("truncated JPEG" if at > len(data) else "broken JPEG: no length")
        end = at
        if marker == SCAN:
            found = _BEHIND_A_SCAN.search(data, at)
            end = found.start() if found else len(data)
        yield Segment(marker, start, at, end)
        at = end
    raise Unreadable("truncated JPEG: its end is missing")


def _check_known(marker: int) -> None:
    if marker in _ARITHMETIC:
        raise Unreadable("arithmetic-coded JPEG, whose end cannot be checked: convert it: jpegtran")
    if marker in _HIERARCHICAL:
        raise Unreadable("hierarchical JPEG")
    if marker not in (*FRAMES, *_SKIPPED, HUFFMAN, QUANTISERS, RESTARTS, SCAN):
        raise Unreadable(f"broken JPEG: marker {marker:02x} where none may be")


def _frame(payload: bytes, pixel_cap: int) -> tuple[tuple[int, int], tuple[Component, ...]]:
    precision, height, width, count = struct.unpack_from(">BHHB", payload)
    if precision != 8:
        raise Unreadable(f"{precision}-bit JPEG")
    check_pixels((height, width), pixel_cap)
    if count not in (1, 3, 4) or len(payload) != 6 + 3 * count:
        raise Unreadable(f"broken JPEG: {count} components")
    rows = (payload[i : i + 2] for i in range(6, len(payload), 3))
    components = tuple(Component(name, factors >> 4, factors & 15) for name, factors in rows)
    if not all(1 <= c.across <= 4 and 1 <= c.down <= 4 for c in components):
        raise Unreadable("broken JPEG: impossible sampling")
    return (height, width), components


def _scan(payload: bytes, components: tuple[Component, ...]) -> Scan:
    if not components:
        raise Unreadable("broken JPEG: no size")
    count = payload[0]
    if not 1 <= count <= 4 or len(payload) != 4 + 2 * count:
        raise Unreadable("broken JPEG: a scan of no components")
    planes = []
    for name, tables in zip(payload[1:-3:2], payload[2:-3:2], strict=True):
        fits = [i for i, c in enumerate(components) if c.name == name and i not in planes]
        if not fits:
            raise Unreadable("broken JPEG: a scan of components that it does not have")
        planes.append((fits[0], tables >> 4, tables & 15))
    first, last, bits = payload[-3:]
    return Scan(tuple(planes), first, last, bits >> 4, bits & 15)


def _check_tables(marker: int, payload: bytes) -> None:
    """Refuse tables that were overwritten: a symbol with two codes, a quantiser of zero."""
    at = 0
    while at < len(payload):
        if marker == HUFFMAN:
            length = sum(payload[at + 1 : at + 17])
            symbols = payload[at + 17 : at + 17 + length]
            at += 17 + length
            bad = len(symbols) != length or len(set(symbols)) != length
        else:
            length = 128 if payload[at] >> 4 else 64
            table = payload[at + 1 : at + 1 + length]
            at += 1 + length
            bad = len(table) != length or not np.frombuffer(table, f">u{length // 64}").all()
        if bad:
            raise Unreadable("broken JPEG: an impossible table")


def _check_all_there(kind: int, components: tuple[Component, ...], scans: list[Scan]) -> None:
    """Refuse a JPEG of which scans are missing: its colours, or what makes it sharp."""
    wanted = range(64 if kind == PROGRESSIVE else 1)
    missing = {(plane, k) for plane in range(len(components)) for k in wanted}
    for scan in scans:
        brought = range(scan.first, scan.last + 1) if kind == PROGRESSIVE else wanted
        if kind != PROGRESSIVE or scan.low == 0:
            missing -= {(plane, k) for plane, _, _ in scan.planes for k in brought}
    if missing:
        raise Unreadable("truncated JPEG: scans are missing")
