"""Pillow, told to be strict: every format but JPEG, and images that are in memory."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from polyak.decoding.notes import hush
from polyak.decoding.unreadable import Unreadable

_READERS = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}


def open_pillow(data: bytes, kind: str) -> ImageFile.ImageFile:
    r"""Open with Pillow's reader of one format alone: no other parser ever sees the bytes.

    >>> import struct
    >>> bitmap = b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 5, 3, 1, 24, 0) + bytes(20)
    >>> open_pillow(bitmap, "BMP").size
    (5, 3)
    """
    if kind == "TIFF":
        hush()
    with _strict():
        return _READERS[kind](io.BytesIO(data))


def load(image: Image.Image) -> None:
    """Decode an image that Pillow has opened, whatever the program has asked Pillow to put up with.

    Raises:
        Exception: of many kinds, for hostile bytes.
    """
    # without tiles it is decoded already, or Pillow refuses it; later frames may be parts
    if isinstance(image, _COVERED) and image.tile and not image.tell() and not _covered(image):
        raise Unreadable("truncated: its data are not for all of its pixels")
    with _strict():
        image.load()


# of other formats the first frame may be smaller than the image
_COVERED = (PngImagePlugin.PngImageFile, BmpImagePlugin.BmpImageFile, TiffImagePlugin.TiffImageFile)


def _covered(image: ImageFile.ImageFile) -> bool:
    """Tell whether the tiles that Pillow will fill are all of the image."""
    across, down, layers = *image.size, 1
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not image.use_load_libtiff:
        layers = len(image.getbands()) if image._planar_configuration == 2 else 1
    boxes = (tile.extents or (0, 0, 0, 0) for tile in image.tile)
    areas = ((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    return sum(areas) >= across * down * layers


_lock, _inside, _asked = threading.Lock(), 0, False


@contextmanager
def _strict() -> Iterator[None]:
    """Hold back LOAD_TRUNCATED_IMAGES, one for the whole process, while anybody decodes."""
    global _inside, _asked
    with _lock:
        if _inside == 0:
            _asked, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = _asked


def rgb(image: Image.Image) -> np.ndarray:
    """Turn a loaded image into uint8 (H, W, 3): 16 bits scaled, transparency on white.

    Raises:
        Unreadable: pixels without a fixed range.

    >>> rgb(Image.new("LA", (1, 1), (0, 128))).tolist()
    [[[127, 127, 127]]]
    """
    if image.mode in ("I", "F"):
        raise Unreadable("32-bit pixels have no fixed range")
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(image: Image.Image) -> Image.Image:
    deep = np.asarray(image).astype(np.uint32)
    pixels = ((deep * 255 + 32767) // 65535).astype(np.uint8)
    clear = image.info.get("transparency")
    if clear is not None:
        pixels[deep == clear] = 255
    return Image.fromarray(pixels)
