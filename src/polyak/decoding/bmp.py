"""Run-length coded BMPs: whether each pixel is told."""

from polyak.decoding.unreadable import Unreadable

_RUNS = (1, 2)  # compressions: of eight and of four bits


def check_bmp(data: bytes) -> None:
    """Refuse a run-length coded BMP that leaves pixels out, or ends early; others pass.

    Raises:
        Unreadable: pixels are missing.
    """
    size, width, height = (_number(data, at) for at in (14, 18, 22))
    if size >= 40 and _number(data, 30) in _RUNS:
        height = min(height, (1 << 32) - height)  # negative: from top to bottom
        if not _all_told(data, width, height, four=_number(data, 30) == 2):
            raise Unreadable("truncated BMP: pixels are missing")


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _all_told(data: bytes, width: int, height: int, four: bool) -> bool:
    at, x, y = _number(data, 10), 0, 0
    while at + 1 < len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            x += count
        elif value == 0:  # end of line
            if x < width:
                return False
            x, y = 0, y + 1
        elif value == 1:  # end of image
            break
        elif value == 2:  # a jump
            return False
        else:
            length = -(-value // 2) if four else value
            at += length + length % 2
            x += value
    return y >= height or (y == height - 1 and x >= width and at <= len(data))
