"""TIFF's compressions whose decoders keep silent about lost data: JPEG, fax and PackBits."""

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, TiffImagePlugin

from polyak.decoding.jpeg import read_jpeg
from polyak.decoding.jpeg_pixels import jpeg_pixels
from polyak.decoding.unreadable import Unreadable

_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 257, 259, 262, 274
_STRIPS, _ROWS, _STRIP_BYTES, _PLANAR, _FAX_OPTIONS = 273, 278, 279, 284, 292
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _JPEG_TABLES = 322, 323, 324, 325, 347
_BITS, _SAMPLES, _PALETTE = 258, 277, 3
_NONE, _OLD_JPEG, _JPEG, _PACKBITS = 1, 6, 7, 32773
_SPARE = 2  # bytes: what some programs write for an even length is a code, too
_FAX = {2: "tiff_ccitt", 3: "group3", 4: "group4"}
_BACK = {  # what undoes an orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class Piece(NamedTuple):
    """A strip or tile: where its bytes lie, and how many columns and rows it has."""

    start: int
    stop: int
    columns: int
    rows: int


def check_tiff(data: bytes, tags: dict, image: Image.Image) -> list[tuple[int, int]]:
    """Refuse a TIFF whose compressed data end early, where its decoder would not.

    Args:
        data: the whole file.
        tags: of its first image, as they were before it was decoded.
        image: decoded.

    Returns:
        Where other compressed data lie, (start, stop) in the order of the file.

    Raises:
        Unreadable: data are missing or damaged, or it is a JPEG of the old style.
    """
    if tags.get(_PHOTOMETRIC) == _PALETTE:
        _check_palette(image)
    kind = tags.get(_COMPRESSION, _NONE)
    pieces = list(_pieces(tags, len(data)))
    if kind != _NONE and len(pieces) < _count(tags):
        raise Unreadable("broken TIFF: it does not tell where all of its data lie")
    if kind == _OLD_JPEG:
        raise Unreadable("a JPEG in a TIFF of the old style: convert it (tiffcp -c lzw)")
    if kind == _JPEG:
        for piece in pieces:
            _check_jpeg(data, tags, piece)
    elif kind in _FAX:
        _check_fax(data, tags, image, pieces)
    elif kind == _PACKBITS:
        for piece in pieces:
            _check_packbits(data, tags, piece)
    elif kind != _NONE:
        return _joined(pieces)
    return []


def _pieces(tags: dict, length: int) -> Iterator[Piece]:
    width, height = tags[_WIDTH], tags[_HEIGHT]
    tiled = _TILES in tags
    starts = _several(tags.get(_TILES if tiled else _STRIPS))
    sizes = _several(tags.get(_TILE_BYTES if tiled else _STRIP_BYTES))
    columns = tags[_TILE_WIDTH] if tiled else width
    rows = tags[_TILE_HEIGHT] if tiled else min(tags.get(_ROWS, height), height)
    down = -(-height // max(rows, 1))
    for i, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        left = height - i % down * rows
        yield Piece(start, min(start + size, length), columns, rows if tiled else min(rows, left))


def _count(tags: dict) -> int:
    """Count the strips or tiles that an image must have."""
    width, height = tags[_WIDTH], tags[_HEIGHT]
    columns, rows = tags.get(_TILE_WIDTH, width), tags.get(_TILE_HEIGHT, tags.get(_ROWS, height))
    planes = tags.get(_SAMPLES, 1) if tags.get(_PLANAR, 1) == 2 else 1
    return -(-width // max(columns, 1)) * -(-height // max(rows, 1)) * planes


def _several(value) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _joined(pieces: list[Piece]) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    for start, stop, *_ in sorted(pieces):
        if parts and start <= parts[-1][1] + 1:
            parts[-1] = parts[-1][0], max(stop, parts[-1][1])
        elif start < stop:
            parts.append((start, stop))
    return parts


def _check_jpeg(data: bytes, tags: dict, piece: Piece) -> None:
    """Decode a piece as the JPEG that it is, with the tables that all pieces share."""
    tables = bytes(tags.get(_JPEG_TABLES, b""))[2:-2]
    whole = b"\xff\xd8" + tables + data[piece.start + 2 : piece.stop]
    jpeg = read_jpeg(whole)
    if jpeg.stored[1] != piece.columns or jpeg.stored[0] < piece.rows:
        raise Unreadable("broken TIFF: a JPEG of another size")
    if jpeg.planes == 2:  # grey and transparent, of which libjpeg makes no colours
        from polyak.decoding.jpeg_clean import cleaned  # compiled loops, which few files need

        cleaned(whole)
    else:
        jpeg_pixels(whole, jpeg)


def _check_palette(image: Image.Image) -> None:
    """Refuse pixels of several kinds that have one colour: zeros where the palette was."""
    kinds = image.getcolors() or ()
    if (
        len(kinds) > 2
        and image.mode == "P"
        and len(image.convert("RGB").getcolors() or (1, 2)) == 1
    ):
        raise Unreadable("broken TIFF: its palette was overwritten")


def _check_packbits(data: bytes, tags: dict, piece: Piece) -> None:
    from polyak.decoding.packbits import unpacked  # compiled, which few files need

    samples = 1 if tags.get(_PLANAR, 1) == 2 else tags.get(_SAMPLES, 1)
    bits = max(_several(tags.get(_BITS, 1))) * samples
    needed = piece.rows * -(-piece.columns * bits // 8)
    length, missing = unpacked(np.frombuffer(data, np.uint8)[piece.start : piece.stop])
    if not needed <= length <= needed + _SPARE or missing:
        raise Unreadable("truncated TIFF: its compressed data end early or are damaged")


def _check_fax(data: bytes, tags: dict, image: Image.Image, pieces: list[Piece]) -> None:
    """Refuse a fax with other data than its pixels need: libtiff leaves what it misses white.

    There is one way to code a line, so that pixels written again take as many bytes, but for marks:
    of the end (up to 9 bytes), and of group 3 those of lines (12 bits each), which may be missing.
    """
    if _TILES in tags or len(pieces) != -(-tags[_HEIGHT] // pieces[0].rows):
        raise Unreadable("broken TIFF: a fax that is not in strips")
    image = image.transpose(_BACK[turn]) if (turn := tags.get(_ORIENTATION)) in _BACK else image
    if tags.get(_PHOTOMETRIC, 0) == 0:  # Pillow writes the other one
        image = ImageChops.invert(image)
    top = 0
    for piece in pieces:
        strip = image.crop((0, top, image.width, top + piece.rows))
        top += piece.rows
        needed = _fax_length(strip, tags)
        more = piece.stop - piece.start - needed
        if tags[_COMPRESSION] == 3 and data[piece.start]:  # no code but a mark begins with zeros
            more += piece.rows * 12 // 8
        if not -4 <= more <= 16 + needed // 50:
            raise Unreadable("truncated TIFF: its compressed data end early or are damaged")


def _fax_length(strip: Image.Image, tags: dict) -> int:
    options = {_FAX_OPTIONS: tags[_FAX_OPTIONS]} if _FAX_OPTIONS in tags else {}
    with io.BytesIO() as file:
        how = _FAX[tags[_COMPRESSION]]
        strip.save(file, "TIFF", compression=how, strip_size=1 << 30, tiffinfo=options)
        file.seek(0)
        return sum(_several(TiffImagePlugin.TiffImageFile(file).tag_v2[_STRIP_BYTES]))
