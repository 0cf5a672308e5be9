"""What the first bytes of a picture say, before any pixel is decoded."""

import codecs
import io
import struct
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

PIXEL_CAP = 64_000_000
BYTE_CAP = 1 << 29

_MAGIC = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
    ("BMP", b"BM"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("TIFF", b"II+\0"),
    ("TIFF", b"MM\0+"),
)
_OTHER = (
    (b"version https://git-lfs", "a Git LFS pointer, not the picture: run git lfs pull"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "a Photoshop document"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"<?xml", "XML or SVG text"),
    (b"<svg", "SVG text"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)


class Unreadable(Exception):
    """Say why bytes are no picture that polyak can use; the only exception that decoding raises.

    >>> Unreadable("empty file").reason
    'empty file'
    """

    def __init__(self, reason: str):
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Header:
    """Describe a picture: its format, its stored and upright size, and which decoder may take it.

    Args:
        format: "JPEG", "PNG", "WEBP", "BMP", "GIF" or "TIFF", by content.
        stored: (height, width) in the file, pixels.
        orientation: EXIF orientation 1 to 8 still to be applied.
        plain: an 8-bit grey or colour JPEG, fit for the fast decoder.

    >>> Header("JPEG", (2, 3), orientation=6, plain=True).size
    (3, 2)
    """

    format: str
    stored: tuple[int, int]
    orientation: int = 1
    plain: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """The upright (height, width), pixels."""
        height, width = self.stored
        return (width, height) if self.orientation > 4 else (height, width)

    def shrunk(self, least: tuple[int, int] | None) -> tuple[int, tuple[int, int]]:
        """Give the factor that a JPEG can be decoded smaller by, and the upright size then.

        Args:
            least: (height, width) that must be left; None: the factor is 1.

        >>> Header("JPEG", (3000, 4001), plain=True).shrunk((448, 448))
        (4, (750, 1001))
        """
        height, width = self.size
        if least and self.plain:
            for factor in (8, 4, 2):
                smaller = -(-height // factor), -(-width // factor)
                if smaller[0] >= least[0] and smaller[1] >= least[1]:
                    return factor, smaller
        return 1, self.size


def read_header(data: bytes, pixel_cap: int = PIXEL_CAP) -> Header:
    r"""Judge a file without decoding: format, size, orientation, and whether its end is there.

    Args:
        data: the whole file.
        pixel_cap: the most pixels that a picture may have.

    Raises:
        Unreadable: not one of the six formats, too large, truncated or broken.

    >>> read_header(b"GIF89a" + b"\x05\0\x03\0" + bytes(9)).size
    (3, 5)
    >>> read_header(b"hello")
    Traceback (most recent call last):
    ...
    polyak.data.header.Unreadable: text, not a picture
    """
    kind = sniff(data)
    try:
        header = _READERS.get(kind, _pillow_header)(data, kind)
        check_pixels(header.stored, pixel_cap)
        return header if kind != "PNG" else _pillow_header(data, kind, header.stored)
    except Unreadable:
        raise
    except Exception as error:  # hostile bytes find every exception that a parser has
        raise broken(kind, error) from error


def sniff(data: bytes) -> str:
    r"""Name the format of a picture by its first bytes.

    Raises:
        Unreadable: none of JPEG, PNG, WEBP, BMP, GIF, TIFF.

    >>> sniff(b"\xff\xd8\xff\xe0")
    'JPEG'
    """
    for name, magic in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise Unreadable(_what_else(data))


def check_pixels(stored: tuple[int, int], pixel_cap: int) -> None:
    """Refuse a picture without pixels, or with more than the cap.

    >>> check_pixels((100_000, 100_000), PIXEL_CAP)
    Traceback (most recent call last):
    ...
    polyak.data.header.Unreadable: 100000x100000 pixels, more than the cap of 64000000
    """
    height, width = stored
    if height < 1 or width < 1:
        raise Unreadable("no pixels")
    if height * width > pixel_cap:
        raise Unreadable(f"{width}x{height} pixels, more than the cap of {pixel_cap}")


def broken(kind: str, error: Exception) -> Unreadable:
    """Turn a decoder's exception into a reason of one short line."""
    if isinstance(error, IndexError | EOFError | struct.error):
        return Unreadable(f"truncated {kind}")
    text = " ".join(str(error).split())[:100] or type(error).__name__
    return Unreadable(f"broken {kind}: {text}")


def open_pillow(data: bytes, kind: str):
    r"""Open with Pillow's reader of one format alone: no other parser ever sees the bytes.

    >>> bitmap = b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 5, 3, 1, 24, 0) + bytes(20)
    >>> open_pillow(bitmap, "BMP").size
    (5, 3)
    """
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    reader = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
    }[kind]
    return reader(io.BytesIO(data))


@contextmanager
def quiet():
    """Hold Pillow's warnings back while many files are read; what they are about gets a reason.

    >>> with quiet():
    ...     pass
    """
    # set once around the threads: filters are one for the whole process
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _what_else(data):
    if not data:
        return "empty file"
    start = data[:512].lstrip(b"\xef\xbb\xbf \r\n\t")
    for magic, what in _OTHER:
        if data.startswith(magic) or start[: len(magic)].lower() == magic.lower():
            return what
    if not any(data[:512]):
        return "nothing but zero bytes"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:512])
    except UnicodeDecodeError:
        text = "\0"
    if all(letter >= " " or letter in "\t\r\n\f" for letter in text):
        return "text, not a picture"
    return "not JPEG, PNG, WebP, BMP, GIF or TIFF"


def _pillow_header(data, kind, stored=None):
    with open_pillow(data, kind) as image:
        width, height = image.size
        if kind == "TIFF":
            return Header(kind, (height, width))  # Pillow turns TIFFs upright itself
        if stored and stored != (height, width):
            raise Unreadable(f"broken {kind}: two sizes in one file")
        return Header(kind, (height, width), _legal(image.getexif().get(0x0112)))


def _jpeg(data, kind):
    stored, orientation, components, precision = None, 1, 0, 8
    at = 2
    while True:
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        if data[at] != 0xFF:
            raise Unreadable("broken JPEG: no marker where one must be")
        marker = data[at + 1]
        if marker == 0xDA:
            break
        length = data[at + 2] << 8 | data[at + 3]
        if marker in _FRAMES:
            precision, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            stored = height, width
        elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length if marker not in _ALONE else 2
    if stored is None:
        raise Unreadable("broken JPEG: no size")
    if precision != 8:
        raise Unreadable(f"{precision}-bit JPEG")
    if data.rfind(b"\xff\xd9", at) < 0:
        raise Unreadable("truncated JPEG: its end is missing")
    return Header(kind, stored, orientation, plain=components in (1, 3))


# start of frame; the lossless and arithmetic kinds are left to fail in the decoder
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}


def _exif_orientation(exif):
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for i in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * i)
            if tag == 0x0112 and kind == 3:
                return _legal(value)
    except (KeyError, struct.error):
        pass  # broken EXIF says nothing: the picture is taken as it lies
    return 1


def _legal(orientation):
    return orientation if orientation in range(1, 9) else 1


def _png(data, kind):
    width, height = struct.unpack_from(">II", data, 16)
    if data.rfind(b"IEND") < 0:
        raise Unreadable("truncated PNG: its end is missing")
    return Header(kind, (height, width))


def _webp(data, kind):
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise Unreadable("truncated WebP: shorter than it says")
    chunk = data[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        exif = data.rfind(b"EXIF") >= 0
        return Header(kind, (height, width), _webp_orientation(data) if exif else 1)
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Header(kind, ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1))
    width, height = struct.unpack_from("<HH", data, 26)
    return Header(kind, (height & 0x3FFF, width & 0x3FFF))


def _webp_orientation(data):
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            exif = data[at + 8 : at + 8 + length]
            return _exif_orientation(exif[6:] if exif.startswith(b"Exif\0\0") else exif)
        at += 8 + length + length % 2
    return 1


def _gif(data, kind):
    width, height = struct.unpack_from("<HH", data, 6)
    return Header(kind, (height, width))


def _bmp(data, kind):
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return Header(kind, (abs(height), abs(width)))


_READERS = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "GIF": _gif, "BMP": _bmp}
