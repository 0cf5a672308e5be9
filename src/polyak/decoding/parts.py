"""Where the compressed data of a file's first image lie, in formats that carry no sum of them."""

from collections.abc import Iterator

from PIL import Image

Parts = list[tuple[int, int]]  # of (start, stop), in the order of the file

_STRIPS, _TILES, _UNCOMPRESSED = (273, 279), (324, 325), 1  # TIFF: where, how many bytes


def compressed_parts(data: bytes, kind: str, image: Image.Image) -> Parts:
    r"""Find the compressed data of the first image; none where they are not compressed.

    Args:
        data: the whole file.
        kind: WEBP, GIF, TIFF or BMP.
        image: as Pillow opened it.

    >>> data = (b"GIF89a" + b"\x01\0\x01\0\x80\0\0" + b"\xff\0\0" + bytes(3)
    ...         + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;")
    >>> compressed_parts(data, "GIF", Image.new("P", (1, 1)))
    [(30, 33)]
    """
    if kind == "WEBP":
        return list(_webp(data, 12, len(data)))
    if kind == "GIF":
        return _gif(data)
    if kind == "TIFF":
        return _tiff(image, len(data))
    run_length = kind == "BMP" and data[14] >= 40 and data[30] in (1, 2)
    return [(int.from_bytes(data[10:14], "little"), len(data))] if run_length else []


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


def _gif(data: bytes) -> Parts:
    at = 13 + _colours(data[10])
    while data[at] == 0x21:  # an extension
        at = _behind_blocks(data, at + 2)
    if data[at] != 0x2C:
        return []
    at += 11 + _colours(data[at + 9])
    return [(at, min(_behind_blocks(data, at) - 1, len(data)))]


def _colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _tiff(image: Image.Image, length: int) -> Parts:
    tags = image.tag_v2
    if tags.get(259, _UNCOMPRESSED) == _UNCOMPRESSED:
        return []
    where, sizes = _TILES if _TILES[0] in tags else _STRIPS
    pieces = sorted(zip(_several(tags.get(where)), _several(tags.get(sizes)), strict=False))
    parts: Parts = []
    for start, size in pieces:
        stop = min(start + size, length)
        if parts and start <= parts[-1][1] + 1:
            parts[-1] = parts[-1][0], max(stop, parts[-1][1])
        elif start < stop:
            parts.append((start, stop))
    return parts


def _several(value) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)
