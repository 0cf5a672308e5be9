"""A JPEG's pixels, from libjpeg, which must have had nothing to complain about.

libjpeg tells its first complaint alone, and most are harmless: bytes between segments, an odd
version. So a JPEG that it complains about is written anew with nothing but what pixels are made of,
if each code of its compressed data can be accounted for, and decoded again.
"""

import numpy as np
import simplejpeg
from PIL import Image

from polyak.decoding.jpeg import LOSSLESS, Jpeg
from polyak.decoding.pillow import open_pillow
from polyak.decoding.unreadable import Unreadable


def jpeg_pixels(data: bytes, jpeg: Jpeg, factor: int = 1) -> np.ndarray:
    """Decode a JPEG at 1/factor of its size, as it lies: uint8 (h, w, 3).

    Args:
        data: the whole file.
        jpeg: its structure.
        factor: 1, 2, 4 or 8; 1 where it is not `shrinkable`.

    Raises:
        Unreadable: its compressed data end early or hold what is not of the image.
        ValueError: what else libjpeg says.
    """
    try:
        pixels = _libjpeg(data, jpeg, factor)
    except ValueError:
        whole = _cleaned(data)
        try:
            return _libjpeg(whole, jpeg, factor)
        except ValueError as error:
            if "subsampling" not in str(error):
                raise
            return _pillow(whole, jpeg, factor)
    if jpeg.kind == LOSSLESS or _may_be_overwritten(data, jpeg):
        _cleaned(data)
    return pixels


def _cleaned(data: bytes) -> bytes:
    from polyak.decoding.jpeg_clean import cleaned  # compiled loops, which few files need

    return cleaned(data)


def _libjpeg(data: bytes, jpeg: Jpeg, factor: int) -> np.ndarray:
    height, width = (-(-side // factor) for side in jpeg.stored)
    colours = _colours(jpeg)
    pixels = simplejpeg.decode_jpeg(
        data,
        colours,
        fastdct=False,
        fastupsample=False,
        min_height=height,
        min_width=width,
        min_factor=factor,
    )
    if pixels.shape != (height, width, {"GRAY": 1, "RGB": 3, "CMYK": 4}[colours]):
        raise Unreadable("broken JPEG: two sizes in one file")
    if colours == "CMYK":  # as Adobe writes them: 255 is no ink
        inks = Image.frombytes("CMYK", (width, height), np.invert(pixels).tobytes())
        return np.array(inks.convert("RGB"))
    return pixels if colours == "RGB" else pixels.repeat(3, axis=2)


def _colours(jpeg: Jpeg) -> str:
    if jpeg.planes == 4:
        return "CMYK"
    # of lossless data libjpeg makes no other colours than they have
    return "GRAY" if jpeg.kind == LOSSLESS and jpeg.planes == 1 else "RGB"


def _pillow(data: bytes, jpeg: Jpeg, factor: int) -> np.ndarray:
    """Decode with Pillow, which tells nothing, what has been accounted for: simplejpeg knows the
    usual sampling of the colours alone.
    """
    with open_pillow(data, "JPEG") as image:
        if factor > 1:
            image.draft(None, (image.width // factor, image.height // factor))
        return np.array(image.convert("RGB"))


def _may_be_overwritten(data: bytes, jpeg: Jpeg) -> bool:
    """Tell compressed data with zeros in them, or bytes alike at their end: libjpeg may have made
    blocks of a fill, and is silent about a few bytes too many.
    """
    for start, end in jpeg.bodies:
        last = data[end - 3 : end]
        if last == last[:1] * 3 or (last[2] == 0 and last[1] != 0xFF):
            return True
        if data.rfind(_ZEROS, start, end) >= 0:
            return True
    return False


_ZEROS = bytes(64)  # sectors have 512 bytes and more
