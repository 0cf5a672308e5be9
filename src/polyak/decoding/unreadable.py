"""Why bytes cannot be used as an image."""

import struct

PIXEL_CAP = 64_000_000
BYTE_CAP = 1 << 29


class Unreadable(Exception):
    """Say why bytes are no image that polyak can use; the only exception that decoding raises.

    >>> Unreadable("empty file").reason
    'empty file'
    """

    def __init__(self, reason: str):
        self.reason = reason
        super().__init__(reason)


def broken(kind: str, error: Exception | str) -> Unreadable:
    """Turn a decoder's exception, or what it said, into a reason of one short line.

    >>> broken("PNG", EOFError()).reason
    'truncated PNG'
    """
    if isinstance(error, IndexError | EOFError | struct.error):
        return Unreadable(f"truncated {kind}")
    text = " ".join(str(error).split())[:100] or type(error).__name__
    return Unreadable(f"broken {kind}: {text}")


def check_pixels(stored: tuple[int, int], pixel_cap: int) -> None:
    """Refuse an image without pixels, or with more than the cap.

    >>> check_pixels((100_000, 100_000), PIXEL_CAP)
    Traceback (most recent call last):
    ...
    polyak.decoding.unreadable.Unreadable: 100000x100000 pixels, more than the cap of 64000000
    """
    height, width = stored
    if height < 1 or width < 1:
        raise Unreadable("no pixels")
    if height * width > pixel_cap:
        raise Unreadable(f"{width}x{height} pixels, more than the cap of {pixel_cap}")
