"""Faxes in TIFFs: whether their compressed data are those of their pixels."""

import io
from typing import Any

from PIL import Image, ImageChops
from PIL.TiffImagePlugin import TiffImageFile

from polyak.decoding.strips import HEIGHT, TILES, Piece, pieces_of
from polyak.decoding.unreadable import Unreadable

FAXES = {2: "tiff_ccitt", 3: "group3", 4: "group4"}  # compressions, as Pillow calls them
_COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _OPTIONS = 259, 262, 266, 274, 292
_MARK = 12  # bits of the mark between lines
_END = f"{1:012b}" * 2  # two of these marks
_SPARE = 2  # bytes
_LEAST_END = 4  # bytes: three of a mark of the end that may be missing, or twice there


_BACK = {  # what undoes an orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def check_fax(data: bytes, tags: dict[int, Any], image: Image.Image, pieces: list[Piece]) -> None:
    """Refuse a fax with other data than its pixels need: libtiff leaves what it misses white.

    There is one way to code a line, so that pixels written again take as many bytes, but for marks:
    of the end, and of group 3 those of lines, which may be missing.

    Args:
        data: the whole file.
        tags: of its first image.
        image: decoded.
        pieces: its strips.

    Raises:
        Unreadable: data are missing or damaged.
    """
    if TILES in tags or len(pieces) != -(-tags[HEIGHT] // pieces[0].rows):
        raise Unreadable("broken TIFF: a fax that is not in strips")
    image = image.transpose(_BACK[turn]) if (turn := tags.get(_ORIENTATION)) in _BACK else image
    if tags.get(_PHOTOMETRIC, 0) == 0:  # Pillow writes the other one
        image = ImageChops.invert(image)
    top = 0
    for piece in pieces:
        strip = image.crop((0, top, image.width, top + piece.rows))
        top += piece.rows
        found = data[piece.start : piece.stop]
        if tags[_COMPRESSION] == 2 and tags.get(_FILL_ORDER, 1) == 1 and piece.rows > 1:
            # no marks, and the same bytes; but libtiff reads some last lines wrongly
            others = strip.crop((0, 0, image.width, piece.rows - 1))
            fits = found.startswith(_coded(others, tags))
        else:
            fits = True
        if not fits or not _fits(found, _coded(strip, tags), piece.rows, tags):
            raise Unreadable("truncated TIFF: its compressed data end early or are damaged")


def _fits(found: bytes, coded: bytes, rows: int, tags: dict[int, Any]) -> bool:
    kind, more = tags[_COMPRESSION], len(found) - len(coded)
    least, most = -_LEAST_END, _LEAST_END + len(coded) // 50
    if kind == 3:
        least, most = -_SPARE, _SPARE + len(coded) // 50
        if found[0]:  # no code but a mark begins with zeros
            more += rows * _MARK // 8
        # six marks behind the last line
        if _END in f"{int.from_bytes(found[-16:], 'big'):0128b}":
            most += 6 * 16 // 8
    return least <= more <= most


def _coded(strip: Image.Image, tags: dict[int, Any]) -> bytes:
    options = {_OPTIONS: tags[_OPTIONS]} if _OPTIONS in tags else {}
    with io.BytesIO() as file:
        kind = FAXES[tags[_COMPRESSION]]
        strip.save(file, "TIFF", compression=kind, strip_size=1 << 30, tiffinfo=options)
        coded = file.getvalue()
        file.seek(0)
        ((start, stop, *_),) = pieces_of(dict(TiffImageFile(file).tag_v2), len(coded))
        return coded[start:stop]
