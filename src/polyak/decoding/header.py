"""What the first bytes of an image say, before any pixel is decoded."""

import struct
from dataclasses import dataclass, field

from polyak.decoding import png
from polyak.decoding.exif import ORIENTATION, legal, orientation_of
from polyak.decoding.jpeg import PROGRESSIVE, Jpeg, read_jpeg
from polyak.decoding.pillow import open_pillow
from polyak.decoding.sniff import sniff
from polyak.decoding.unreadable import PIXEL_CAP, Unreadable, broken, check_pixels


@dataclass(frozen=True)
class Header:
    """Describe an image: its format, its stored and upright size, and whether decoding may shrink.

    Args:
        format: "JPEG", "PNG", "WEBP", "BMP", "GIF" or "TIFF", by content.
        stored: (height, width) in the file, pixels.
        orientation: EXIF orientation 1 to 8 still to be applied.
        plain: a grey or colour JPEG, baseline or progressive, that may be decoded smaller.
        jpeg: how it is built, of a JPEG.
        deep: grey of 16 bits, of which a set of images may use fewer.

    >>> Header("JPEG", (2, 3), orientation=6, plain=True).size
    (3, 2)
    """

    format: str
    stored: tuple[int, int]
    orientation: int = 1
    plain: bool = False
    jpeg: Jpeg | None = field(default=None, repr=False, compare=False)
    deep: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """The upright (height, width), pixels."""
        height, width = self.stored
        return (width, height) if self.orientation > 4 else (height, width)

    def shrunk(self, min_size: tuple[int, int] | None) -> tuple[int, tuple[int, int]]:
        """Give the factor that a JPEG can be decoded smaller by, and the upright size then.

        Args:
            min_size: (height, width) that must be left; None: the factor is 1.

        >>> Header("JPEG", (3000, 4001), plain=True).shrunk((448, 448))
        (4, (750, 1001))
        """
        height, width = self.size
        if min_size and self.plain:
            for factor in (8, 4, 2):
                smaller = -(-height // factor), -(-width // factor)
                if smaller[0] >= min_size[0] and smaller[1] >= min_size[1]:
                    return factor, smaller
        return 1, self.size

    def weight(self, min_size: tuple[int, int] | None = None) -> int:
        """Count the pixels whose memory decoding takes; of a progressive JPEG all wait half-done.

        >>> Header("JPEG", (3000, 4000), plain=True).weight((448, 448))
        750000
        """
        height, width = self.shrunk(min_size)[1]
        progressive = self.jpeg is not None and self.jpeg.kind == PROGRESSIVE
        return max(height * width, self.stored[0] * self.stored[1] // 2 * progressive)


def read_header(data: bytes, pixel_cap: int = PIXEL_CAP) -> Header:
    r"""Judge a file without decoding: format, size, orientation, and whether its end is there.

    Args:
        data: the whole file.
        pixel_cap: the most pixels that an image may have.

    Raises:
        Unreadable: not one of the six formats, too large, truncated or broken.

    >>> read_header(b"BM" + bytes(12) + b"\x28\0\0\0\x05\0\0\0\x03\0\0\0").size
    (3, 5)
    >>> read_header(b"hello")
    Traceback (most recent call last):
    ...
    polyak.decoding.unreadable.Unreadable: text, not an image
    """
    kind = sniff(data)
    try:
        return _READERS[kind](data, pixel_cap)
    except Unreadable:
        raise
    except Exception as error:  # hostile bytes find every exception that a parser has
        raise broken(kind, error) from error


def _jpeg(data: bytes, pixel_cap: int) -> Header:
    jpeg = read_jpeg(data, pixel_cap)
    if jpeg.planes == 2:
        raise Unreadable("a JPEG of two components, which no one knows the colours of")
    return Header("JPEG", jpeg.stored, jpeg.orientation, jpeg.shrinkable, jpeg)


def _png(data: bytes, pixel_cap: int) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    check_pixels((height, width), pixel_cap)
    chunks = list(png.chunks(data))
    names = [name for name, _, _ in chunks]
    if names[0] != b"IHDR" or names.count(b"IHDR") > 1:
        raise Unreadable("broken PNG: not one header")
    with open_pillow(data, "PNG") as image:
        if image.size != (width, height):
            raise Unreadable("broken PNG: two sizes in one file")
        # asked for it, Pillow decodes the image to find what may stand behind it
        turned = any(name == b"eXIf" or data.startswith(_EXIF_TEXT, at) for name, at, _ in chunks)
        orientation = image.getexif().get(ORIENTATION) if turned else 1
        deep = data[24:26] == b"\x10\0"  # 16 bits, grey
        return Header("PNG", (height, width), legal(orientation), deep=deep)


_EXIF_TEXT = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")


def _tiff(data: bytes, pixel_cap: int) -> Header:
    with open_pillow(data, "TIFF") as image:
        width, height = image.size
        check_pixels((height, width), pixel_cap)
        deep = image.mode.startswith("I;16")
        return Header("TIFF", (height, width), deep=deep)  # Pillow turns TIFFs upright itself


def _webp(data: bytes, pixel_cap: int) -> Header:
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise Unreadable("truncated WebP: shorter than it says")
    chunk, orientation = data[12:16], 1
    if chunk == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        orientation = _webp_orientation(data) if data.rfind(b"EXIF") >= 0 else 1
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    check_pixels((height, width), pixel_cap)
    return Header("WEBP", (height, width), orientation)


def _webp_orientation(data: bytes) -> int:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            exif = data[at + 8 : at + 8 + length]
            return orientation_of(exif[6:] if exif.startswith(b"Exif\0\0") else exif)
        at += 8 + length + length % 2
    return 1


def _gif(data: bytes, pixel_cap: int) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    check_pixels((height, width), pixel_cap)
    with open_pillow(data, "GIF") as image:  # its first frame may be larger than all of it
        width, height = image.size
    check_pixels((height, width), pixel_cap)
    return Header("GIF", (height, width))


def _bmp(data: bytes, pixel_cap: int) -> Header:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    check_pixels((abs(height), abs(width)), pixel_cap)
    return Header("BMP", (abs(height), abs(width)))


_READERS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
}
