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

# memory of large images in pieces that malloc maps, and gives back to the system when they are free
Image.core.set_block_size(64 << 20)

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


_lock, _inside = threading.Lock(), 0
_asked: tuple[bool, int | None] = False, None


@contextmanager
def _strict() -> Iterator[None]:
    """Hold back LOAD_TRUNCATED_IMAGES and MAX_IMAGE_PIXELS while anybody decodes: each is one for
    the whole process, and polyak has a cap of its own.
    """
    global _inside, _asked
    with _lock:
        if _inside == 0:
            _asked = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = _asked


def rgb(image: Image.Image, bits: int = 16) -> np.ndarray:
    """Turn a loaded image into uint8 (H, W, 3): 16 bits scaled, transparency on white.

    Args:
        image: loaded.
        bits: of 16 that its set of images uses; a level above them is white.

    Raises:
        Unreadable: pixels without a fixed range.

    >>> rgb(Image.new("LA", (1, 1), (0, 128))).tolist()
    [[[127, 127, 127]]]
    """
    if image.mode in ("I", "F"):
        raise Unreadable("32-bit pixels have no fixed range")
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    with _strict():
        for top, part in strips(image):  # each step makes a copy, and none of the whole
            pixels[top : top + part.height] = _rgb(part, bits)
    return pixels


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut an image into parts of about a million pixels: (first row, part).

    >>> [(top, part.size) for top, part in strips(Image.new("1", (2_000_000, 2)))]
    [(0, (2000000, 1)), (1, (2000000, 1))]
    """
    width, height = image.size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        whole = rows >= height
        yield top, image if whole else image.crop((0, top, width, min(top + rows, height)))


_STRIP = 1 << 20  # pixels


def _rgb(image: Image.Image, bits: int) -> np.ndarray:
    if image.mode.startswith("I;16"):
        image = _eight_bits(image, (1 << bits) - 1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _eight_bits(image: Image.Image, white: int) -> Image.Image:
    deep = np.asarray(image).astype(np.uint32)
    pixels = ((np.minimum(deep, white) * 255 + white // 2) // white).astype(np.uint8)
    clear = image.info.get("transparency")
    if clear is not None:
        pixels[deep == clear] = 255
    return Image.fromarray(pixels)
