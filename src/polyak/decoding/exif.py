"""Which way up an image lies, by its EXIF data."""

import struct

import numpy as np

ORIENTATION = 0x0112


def orientation_of(exif: bytes) -> int:
    r"""Read the orientation, 1 to 8, of a TIFF structure; broken EXIF data say nothing, which is 1.

    >>> orientation_of(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0")
    6
    """
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for i in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * i)
            if tag == ORIENTATION and kind == 3:
                return legal(value)
    except (KeyError, struct.error):
        pass
    return 1


def legal(orientation: object) -> int:
    """Take what is no orientation for 1: as it lies.

    >>> legal(6), legal(99), legal(None)
    (6, 1, 1)
    """
    return orientation if isinstance(orientation, int) and orientation in range(1, 9) else 1


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
