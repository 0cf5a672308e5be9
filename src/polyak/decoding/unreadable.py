"""Why bytes cannot be used as an image."""

import re
import struct

PIXEL_CAP = 64_000_000  # where --max-pixels says nothing else
MOST_PIXELS = 715_000_000  # three bytes each, below 2**31: what offsets of 32 bits reach
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

    >>> check_pixels((9000, 12_000), PIXEL_CAP)
    Traceback (most recent call last):
    ...
    polyak.decoding.unreadable.Unreadable: 12000x9000 pixels, more than the cap of 64M: \
--max-pixels 108M takes it
    """
    height, width = stored
    if height < 1 or width < 1:
        raise Unreadable("no pixels")
    if height * width > min(pixel_cap, MOST_PIXELS):
        cap = f"{width}x{height} pixels, more than the cap of"
        if height * width > MOST_PIXELS:
            raise Unreadable(f"{cap} {as_pixels(MOST_PIXELS)}, beyond which nothing is drawn")
        enough = as_pixels(-(-height * width // 10**6) * 10**6)
        raise Unreadable(f"{cap} {as_pixels(pixel_cap)}: --max-pixels {enough} takes it")


def pixel_count(text: str) -> int:
    """Read a number of pixels: 120M, 1G, or plain.

    Raises:
        ValueError: it is none.

    >>> pixel_count("120M"), pixel_count("0.2G"), pixel_count("90000000")
    (120000000, 200000000, 90000000)
    """
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,9})?)\s*([kmg]?)\s*", text, re.IGNORECASE)
    count = round(float(match[1]) * _TIMES[match[2].lower()]) if match else 0
    if count < 1:
        raise ValueError(f"{text[:40]!r} is no number of pixels; write 120M")
    return count


def as_pixels(count: int) -> str:
    """Write a number of pixels as `pixel_count` reads it.

    >>> as_pixels(64_000_000), as_pixels(10**9), as_pixels(119)
    ('64M', '1G', '119')
    """
    letter = next((letter for letter in "gm" if count % _TIMES[letter] == 0), "")
    return f"{count // _TIMES[letter]}{letter.upper()}"


_TIMES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
