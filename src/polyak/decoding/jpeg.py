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

from polyak.decoding.exif import orientation_of
from polyak.decoding.unreadable import PIXEL_CAP, Unreadable, check_pixels

APP0, APP1, APP14 = 0xE0, 0xE1, 0xEE
HUFFMAN, QUANTISERS, RESTARTS = 0xC4, 0xDB, 0xDD
START, END, SCAN = 0xD8, 0xD9, 0xDA
PROGRESSIVE, LOSSLESS = 0xC2, 0xC3
FRAMES = (0xC0, 0xC1, PROGRESSIVE, LOSSLESS)

_ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCC}  # SOF9 to SOF11, and the table of their contexts
_HIERARCHICAL = {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE, 0xDF}
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
_SKIPPED = {0xDC, 0xFE, *range(0xE0, 0xF0)}  # number of lines, comment, applications
_KNOWN = {*FRAMES, *_SKIPPED, HUFFMAN, QUANTISERS, RESTARTS, SCAN}
_PLAIN = {0xFE, *range(0xE0, 0xF0), HUFFMAN, QUANTISERS, RESTARTS}
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_BEHIND_A_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_END = bytes([0xFF, END])
_FILL = bytes(10)  # zeros that no usual table has
_MOST_MARKERS = 1 << 16
_MOST_SCANS = 100  # encoders make ten to thirty; each costs a pass over the image


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


class Jpeg(NamedTuple):
    """Describe a JPEG.

    `kind`: the frame's marker, one of `FRAMES`; `stored`: (height, width), pixels; `planes`: how
    many; `orientation`: EXIF orientation, 1 to 8; `bodies`: where the compressed data of each scan
    lie, (start, end).
    """

    kind: int
    stored: tuple[int, int]
    planes: int
    orientation: int
    bodies: tuple[tuple[int, int], ...]

    @property
    def shrinkable(self) -> bool:
        """Whether libjpeg may decode it smaller: of a lossless one it would write all pixels."""
        return self.kind != LOSSLESS and self.planes in (1, 3)


@dataclass(frozen=True)
class Structure:
    """Hold all that a JPEG is made of.

    Args:
        jpeg: what it is.
        components: its planes.
        segments: all segments up to the end of the image, in their order.
        scans: of the segments that are scans, what they bring.
    """

    jpeg: Jpeg
    components: tuple[Component, ...]
    segments: tuple[Segment, ...]
    scans: tuple[Scan, ...]


def read_jpeg(data: bytes, pixel_cap: int = PIXEL_CAP) -> Jpeg:
    r"""Describe a JPEG; see `parse`. Where nothing is odd, its compressed data are not looked at.

    Raises:
        Unreadable: another kind of JPEG, too large, or broken.

    >>> from PIL import Image
    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (3, 2)).save(file, "JPEG")
    >>> read_jpeg(file.getvalue()).stored, read_jpeg(file.getvalue()).planes
    ((2, 3), 3)
    """
    return _usual(data, pixel_cap) or parse(data, pixel_cap).jpeg


def _usual(data: bytes, pixel_cap: int) -> Jpeg | None:
    """Describe a JPEG of one scan that ends where its file does; None: it may be another."""
    at, orientation, frame = 2, 1, None
    while at + 20 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if marker == SCAN:
            body = at + 2 + length, len(data) - 2
            if frame is None or data[at + 4] != frame[3] or data.find(_END, body[0]) != body[1]:
                return None
            return Jpeg(0xC0, frame[1:3], frame[3], orientation, (body,))
        if marker == 0xC0:
            if frame is not None:
                return None
            frame = struct.unpack_from(">BHHB", data, at + 4)
            if frame[0] != 8 or frame[3] not in (1, 3, 4):
                return None
            check_pixels(frame[1:3], pixel_cap)
        elif marker == APP1 and data.startswith(b"Exif\0\0", at + 4):
            orientation = orientation_of(data[at + 10 : at + 2 + length])
        elif marker not in _PLAIN or data.startswith(b"MPF\0", at + 4):
            return None
        elif marker in (HUFFMAN, QUANTISERS):
            _check_tables(marker, data[at + 4 : at + 2 + length])
        at += 2 + length
    return None


def parse(data: bytes, pixel_cap: int = PIXEL_CAP) -> Structure:
    r"""Read the structure of a JPEG: 8 bits, Huffman-coded, one frame, all scans, an end.

    Bytes between segments are passed over, as libjpeg does.

    Raises:
        Unreadable: another kind of JPEG, too large, or broken.

    >>> from PIL import Image
    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (3, 2)).save(file, "JPEG", progressive=True)
    >>> len(parse(file.getvalue()).scans)
    10
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
    if not scans:
        raise Unreadable("broken JPEG: no size" if not kind else "truncated JPEG: no scan")
    _check_all_there(kind, components, scans)
    bodies = tuple((segment.stop, segment.end) for segment in segments if segment.marker == SCAN)
    jpeg = Jpeg(kind, stored, len(components), orientation, bodies)
    return Structure(jpeg, components, tuple(segments), tuple(scans))


def _segments(data: bytes) -> Iterator[Segment]:
    at, scans = 2, 0
    for _ in range(_MOST_MARKERS):
        found = _MARKER.search(data, at)
        if not found:
            raise Unreadable("truncated JPEG: its end is missing")
        marker, at = data[found.end() - 1], found.end()
        if marker == END:
            return
        if marker in _ALONE:
            continue
        _check_known(marker)
        length = int.from_bytes(data[at : at + 2], "big")
        start, stop = at + 2, at + length
        if length < 2 or stop > len(data):
            raise Unreadable("truncated JPEG" if stop > len(data) else "broken JPEG: no length")
        at = stop
        if marker == SCAN:
            behind = _BEHIND_A_SCAN.search(data, stop)
            at = behind.start() if behind else len(data)
            scans += 1
        if scans > _MOST_SCANS:
            break
        yield Segment(marker, start, stop, at)
    raise Unreadable("broken JPEG: too many segments")


def _check_known(marker: int) -> None:
    if marker in _ARITHMETIC:
        raise Unreadable("arithmetic-coded JPEG, whose end cannot be checked: convert it: jpegtran")
    if marker in _HIERARCHICAL:
        raise Unreadable("hierarchical JPEG")
    if marker not in _KNOWN:
        raise Unreadable(f"broken JPEG: marker {marker:02x} where none may be")


def _frame(payload: bytes, pixel_cap: int) -> tuple[tuple[int, int], tuple[Component, ...]]:
    precision, height, width, count = struct.unpack_from(">BHHB", payload)
    if precision != 8:
        raise Unreadable(f"{precision}-bit JPEG")
    check_pixels((height, width), pixel_cap)
    if not 1 <= count <= 4 or len(payload) != 6 + 3 * count:
        raise Unreadable(f"broken JPEG: {count} components")
    rows = (payload[i : i + 2] for i in range(6, len(payload), 3))
    components = tuple(Component(name, factors >> 4, factors & 15) for name, factors in rows)
    if any(not 1 <= n <= 4 for c in components for n in c[1:]):
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
    if marker == HUFFMAN and _FILL not in payload:
        return
    at = 0
    while at < len(payload):
        if marker == HUFFMAN:
            start = at + 17
            at = start + sum(payload[at + 1 : start])
            bad = len(set(payload[start:at])) != at - start
        else:
            start, wide = at + 1, payload[at] >> 4 > 0
            at = start + (128 if wide else 64)
            steps = payload[start:at]
            bad = not all(struct.unpack(">64H", steps)) if wide else 0 in steps
        if bad or at > len(payload):
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
