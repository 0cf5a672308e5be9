"""Bytes to pixels: one picture, upright, three colours, eight bits."""

import numpy as np
import simplejpeg

from polyak.data.header import (
    PIXEL_CAP,
    Header,
    Unreadable,
    broken,
    check_pixels,
    open_pillow,
    read_header,
)


def decode(
    data: bytes, pixel_cap: int = PIXEL_CAP, least: tuple[int, int] | None = None
) -> np.ndarray:
    r"""Decode the first frame of a JPEG, PNG, WebP, BMP, GIF or TIFF to upright RGB.

    Alpha lies on white; grey, palette and CMYK become RGB; 16-bit grey is scaled, not clipped;
    colour profiles are ignored.

    Args:
        data: the whole file.
        pixel_cap: the most pixels that a picture may have.
        least: (height, width); a JPEG is decoded at 1/2, 1/4 or 1/8 of its size when that leaves
            this much. Its decoder averages, so nothing aliases.

    Returns:
        uint8 (H, W, 3), C-contiguous.

    Raises:
        Unreadable: for whatever is wrong with the bytes.

    >>> decode(b"GIF89a" + b"\x01\0\x01\0\x80\0\0" + b"\xff\0\0" + bytes(3)
    ...        + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;").tolist()
    [[[255, 0, 0]]]
    """
    header = read_header(data, pixel_cap)
    factor, _ = header.shrunk(least)
    if header.plain:
        try:
            pixels = simplejpeg.decode_jpeg(
                data,
                fastdct=False,
                fastupsample=False,
                min_height=-(-header.stored[0] // factor),
                min_width=-(-header.stored[1] // factor),
                min_factor=factor,
            )
            return upright(pixels, header.orientation)
        except Exception as error:
            # strict: mere oddities are left to Pillow, but Pillow would paint lost pixels grey
            if any(sign in str(error).lower() for sign in _LOST):
                raise broken("JPEG", error) from error
    return upright(_decode_pillow(data, header, pixel_cap, factor), header.orientation)


LEAST_SIDE = 256  # pixels: no picture is shrunk below this while it is decoded


def least_for(size: tuple[int, int]) -> tuple[int, int]:
    """Say how far decoding may shrink a JPEG for a network of this size, as `least` of `decode`.

    Three times the network's size: a crop of half the side is then still shrunk by 1.5 when it is
    drawn, which removes what the decoder's averaging lets through. A function of the network alone,
    so that training, evaluating and predicting see the same pixels, kept in memory or not.

    >>> least_for((224, 224)), least_for((32, 32))
    ((672, 672), (256, 256))
    """
    height, width = size
    return max(3 * height, LEAST_SIDE), max(3 * width, LEAST_SIDE)


# libjpeg's warnings after which pixels are made up (jerror.h: HIT_MARKER, JPEG_EOF, HUFF_BAD_CODE,
# MUST_RESYNC)
_LOST = ("premature end", "bad huffman code", "instead of rst")


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W, 3) pixels by an EXIF orientation, 1 to 8.

    >>> upright(np.array([[[1], [2]], [[3], [4]]]), 6)[:, :, 0].tolist()
    [[3, 1], [4, 2]]
    """
    if orientation > 4:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decode_pillow(data: bytes, header: Header, pixel_cap: int, factor: int) -> np.ndarray:
    try:
        with open_pillow(data, header.format) as image:
            check_pixels((image.height, image.width), pixel_cap)
            if factor > 1:
                image.draft(None, (image.width // factor, image.height // factor))
            image.load()
            return np.asarray(_rgb(image))
    except Unreadable:
        raise
    except Exception as error:  # hostile bytes find every exception that a parser has
        raise broken(header.format, error) from error


def _rgb(image):
    from PIL import Image

    if image.mode in ("I", "F"):
        raise Unreadable("32-bit pixels have no fixed range")
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image):
    from PIL import Image

    deep = np.asarray(image).astype(np.uint32)
    pixels = ((deep * 255 + 32767) // 65535).astype(np.uint8)
    clear = image.info.get("transparency")
    if clear is not None:
        pixels[deep == clear] = 255
    return Image.fromarray(pixels)
