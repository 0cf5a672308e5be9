"""Bytes to pixels: one image, upright, three colours, eight bits; whole, or not at all."""

from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from polyak.decoding.bmp import check_bmp
from polyak.decoding.exif import ORIENTATION, legal, upright
from polyak.decoding.fill import check_fill
from polyak.decoding.header import Header, read_header
from polyak.decoding.jpeg_pixels import jpeg_pixels
from polyak.decoding.notes import note, noting
from polyak.decoding.parts import gif_parts, webp_parts
from polyak.decoding.pillow import load, open_pillow, rgb, strips
from polyak.decoding.png import check_png
from polyak.decoding.tiff import check_tiff
from polyak.decoding.turns import turn
from polyak.decoding.unreadable import PIXEL_CAP, Unreadable, broken, check_pixels
from polyak.decoding.webp import check_webp

_FORMATS = {"JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF"}  # as Pillow calls them
DEPTHS = (8, 10, 12, 14, 16)  # bits that files of 16 bits may be used for
LEAST_SIDE = 256  # pixels: no image is shrunk below this while it is decoded


def decode(
    data: bytes,
    pixel_cap: int = PIXEL_CAP,
    min_size: tuple[int, int] | None = None,
    bits: int = 16,
) -> np.ndarray:
    r"""Decode the first frame of a JPEG, PNG, WebP, BMP, GIF or TIFF to upright RGB.

    Alpha lies on white; grey, palette and CMYK become RGB; 16-bit grey is scaled, not clipped;
    colour profiles are ignored. A file whose compressed data end early, or hold what is not of the
    image, is refused.

    Args:
        data: the whole file.
        pixel_cap: the most pixels that an image may have.
        min_size: (height, width); a JPEG is decoded at 1/2, 1/4 or 1/8 of its size when that leaves
            this much. Its decoder averages, so nothing aliases.
        bits: of 16 that the images of a set use; what is above them is white.

    Returns:
        uint8 (H, W, 3), C-contiguous.

    Raises:
        Unreadable: for whatever is wrong with the bytes.

    >>> decode(b"GIF89a" + b"\x01\0\x01\0\x80\0\0" + b"\xff\0\0" + bytes(3)
    ...        + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;").tolist()
    [[[255, 0, 0]]]
    """
    header = read_header(data, pixel_cap)
    with turn(header.weight(min_size)), noting() as notes:
        try:
            if header.jpeg:
                pixels = jpeg_pixels(data, header.jpeg, header.shrunk(min_size)[0])
            else:
                pixels = _whole(data, header, pixel_cap, bits)
        except Unreadable:
            raise
        except Exception as error:  # hostile bytes find every exception that a parser has
            reason = notes[-1] if notes and header.format == "TIFF" else error
            raise broken(header.format, reason) from error
        for line in notes:
            note(line)
        return upright(pixels, header.orientation)


def image_pixels(
    image: Image.Image,
    pixel_cap: int = PIXEL_CAP,
    min_size: tuple[int, int] | None = None,
    bits: int = 16,
) -> np.ndarray:
    """Turn a Pillow image into the pixels that `decode` makes of its file.

    An image that Pillow has opened and not yet decoded is decoded from its file, with the same
    strictness; of one that is in memory the pixels are taken, and its EXIF orientation. The other
    arguments are those of `decode`.

    Returns:
        uint8 (H, W, 3), C-contiguous.

    Raises:
        Unreadable: it cannot be decoded, or its pixels have no fixed range.

    >>> image_pixels(Image.new("RGBA", (1, 1), (200, 0, 0, 0))).tolist()
    [[[255, 255, 255]]]
    """
    data = _unread(image)
    if data:
        return decode(data, pixel_cap, min_size, bits)
    try:
        check_pixels((image.height, image.width), pixel_cap)
        load(image)
        return upright(rgb(image, bits), legal(image.getexif().get(ORIENTATION)))
    except Unreadable:
        raise
    except Exception as error:
        raise broken(image.format or "image", error) from error


def _unread(image: Image.Image) -> bytes | None:
    """Read the file of an image that Pillow has opened but not decoded; None: there is none."""
    file = getattr(image, "fp", None)
    if image.format not in _FORMATS or file is None or file.closed or image.tell():
        return None
    if getattr(image, "_im", None) is not None:  # decoded
        return None
    before = file.tell()
    file.seek(0)
    try:
        return file.read()
    finally:
        file.seek(before)


def highest(data: bytes, pixel_cap: int = PIXEL_CAP) -> int:
    """Give the highest level of a 16-bit grey image (`Header.deep`), one for transparency left out.

    Raises:
        Unreadable: it cannot be decoded.

    >>> import io
    >>> file = io.BytesIO()
    >>> Image.fromarray(np.array([[4095, 17]], np.uint16)).save(file, "PNG")
    >>> highest(file.getvalue())
    4095
    """
    header, found = read_header(data, pixel_cap), 0
    with turn(header.weight()), noting():
        try:
            image, _ = _loaded(data, header.format, pixel_cap)
            if header.format == "PNG":
                check_png(data, image)
            for _, part in strips(image):
                levels = np.asarray(part)
                shown = levels[levels != image.info.get("transparency", -1)]
                found = max(found, int(shown.max(initial=0)))
        except Unreadable:
            raise
        except Exception as error:
            raise broken(header.format, error) from error
    return found


def bits_for(level: int) -> int:
    """Say how many bits a set of images uses whose highest level this is: as cameras have them.

    >>> [bits_for(level) for level in (200, 1023, 4095, 4096, 65535)]
    [8, 10, 12, 14, 16]
    """
    return next(bits for bits in DEPTHS if level < 1 << bits)


def min_size_for(size: tuple[int, int]) -> tuple[int, int]:
    """Say how far decoding may shrink a JPEG for a network of this size, as `min_size` of `decode`.

    Three times the network's size: a crop of half the side is then still shrunk by 1.5 when it is
    drawn, which removes what the decoder's averaging lets through. A function of the network alone,
    so that training, evaluating and predicting see the same pixels, kept in memory or not.

    >>> min_size_for((224, 224)), min_size_for((32, 32))
    ((672, 672), (256, 256))
    """
    height, width = size
    return max(3 * height, LEAST_SIDE), max(3 * width, LEAST_SIDE)


def _whole(data: bytes, header: Header, pixel_cap: int, bits: int) -> np.ndarray:
    """Decode with Pillow, and see that all of the compressed data went into it."""

    def pixels_of(changed: bytes) -> np.ndarray:
        with noting():  # what is wrong with changed bytes is nobody's business
            return rgb(_loaded(changed, header.format, pixel_cap)[0], bits)

    if header.format == "BMP":
        check_bmp(data)
    image, tags = _loaded(data, header.format, pixel_cap)
    pixels = rgb(image, bits)
    if header.format == "PNG":
        check_png(data, image)
    elif header.format == "TIFF":
        check_fill(data, check_tiff(data, tags, image), pixels, pixels_of)
    elif header.format == "GIF":
        check_fill(data, gif_parts(data), pixels, pixels_of)
    elif header.format == "WEBP":
        check_webp(data, webp_parts(data), pixels, pixels_of)
    return pixels


def _loaded(data: bytes, kind: str, pixel_cap: int) -> tuple[Image.Image, dict[int, Any]]:
    """Decode, and give a TIFF's tags too, of which decoding takes some away."""
    image = open_pillow(data, kind)
    check_pixels((image.height, image.width), pixel_cap)
    tags = dict(image.tag_v2) if isinstance(image, TiffImageFile) else {}
    load(image)
    return image, tags
