"""Durations as people write them."""

import math
import re


def seconds(text: str) -> float:
    """Read a duration: a number with s, m or h behind it; a bare number counts minutes.

    >>> seconds("90s"), seconds("10m"), seconds("1.5h"), seconds("2")
    (90.0, 600.0, 5400.0, 120.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    value = float(match[1]) * {"s": 1, "m": 60, "h": 3600, "": 60}[match[2]] if match else math.nan
    if not 10 <= value < 10**8:
        raise ValueError(f"{text!r} is not a duration of at least 10 s; write 90s, 10m or 2h")
    return value
