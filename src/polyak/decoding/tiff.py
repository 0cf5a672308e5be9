"""TIFF's compressions whose decoders keep silent about lost data: JPEG, fax and PackBits."""

from typing import Any

import numpy as np
from PIL import Image

from polyak.decoding.fax import FAXES, check_fax
from polyak.decoding.jpeg import read_jpeg
from polyak.decoding.jpeg_pixels import jpeg_pixels
from polyak.decoding.strips import PLANAR, SAMPLES, Piece, joined, pieces_of, several, wanted
from polyak.decoding.unreadable import Unreadable

_BITS, _COMPRESSION, _PHOTOMETRIC, _COLOURS, _JPEG_TABLES = 258, 259, 262, 320, 347
_PALETTE, _YCBCR = 3, 6
_NONE, _OLD_JPEG, _JPEG, _PACKBITS, _LZMA = 1, 6, 7, 32773, 34925
_LZMA_MEMORY = 256 << 20  # bytes, for its dictionary: the strongest preset takes 65 MiB
_SPARE = 2  # bytes: what some programs write for an even length is a code, too


def check_tiff(data: bytes, tags: dict[int, Any], image: Image.Image) -> list[tuple[int, int]]:
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
        _check_palette(tags.get(_COLOURS, ()), image)
    kind = tags.get(_COMPRESSION, _NONE)
    pieces = list(pieces_of(tags, len(data)))
    if kind != _NONE and len(pieces) < wanted(tags):
        raise Unreadable("broken TIFF: it does not tell where all of its data lie")
    if kind == _OLD_JPEG:
        raise Unreadable("a JPEG in a TIFF of the old style: convert it (tiffcp -c lzw)")
    if kind == _JPEG:
        for piece in pieces:
            _check_jpeg(data, tags, piece)
    elif kind in FAXES:
        check_fax(data, tags, image, pieces)
    elif kind == _PACKBITS:
        for piece in pieces:
            _check_packbits(data, tags, piece)
    elif kind == _LZMA:
        for piece in pieces:
            _check_lzma(data, tags, piece)
    elif kind != _NONE:
        return joined(pieces)
    return []


def _check_jpeg(data: bytes, tags: dict[int, Any], piece: Piece) -> None:
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


def _check_palette(colours: tuple[int, ...], image: Image.Image) -> None:
    """Refuse pixels of several kinds that have one colour, as the palette ends in bytes alike.

    All red, then all green, then all blue stand there: from some index on all of them are lost.
    """
    fill = len(colours)
    while fill and colours[fill - 1] == colours[-1]:
        fill -= 1
    if fill < len(colours) // 3 and image.mode == "P":
        if sum(count > 0 for count in image.histogram()[fill:]) > 2:
            raise Unreadable("broken TIFF: its palette was overwritten")


def _check_packbits(data: bytes, tags: dict[int, Any], piece: Piece) -> None:
    from polyak.decoding.packbits import unpacked  # compiled, which few files need

    needed = _size(tags, piece)
    length, missing = unpacked(np.frombuffer(data, np.uint8)[piece.start : piece.stop])
    if not needed <= length <= needed + _SPARE or missing:
        raise Unreadable("truncated TIFF: its compressed data end early or are damaged")


def _check_lzma(data: bytes, tags: dict[int, Any], piece: Piece) -> None:
    """Unpack a piece to the end of its stream, where an overwritten one does not come out."""
    import lzma  # which few files need

    needed = _size(tags, piece)
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
    try:
        length = len(stream.decompress(data[piece.start : piece.stop], needed + _SPARE + 1))
    except (lzma.LZMAError, EOFError) as error:
        raise Unreadable(f"broken TIFF: its compressed data are damaged ({error})") from error
    whole = needed <= length <= needed + _SPARE or tags.get(_PHOTOMETRIC) == _YCBCR
    if not (whole and stream.eof):
        raise Unreadable("truncated TIFF: its compressed data end early or are damaged")


def _size(tags: dict[int, Any], piece: Piece) -> int:
    """Count the bytes that a piece has when it is unpacked."""
    samples = 1 if tags.get(PLANAR, 1) == 2 else tags.get(SAMPLES, 1)
    bits = max(several(tags.get(_BITS, 1))) * samples
    return piece.rows * -(-piece.columns * bits // 8)
