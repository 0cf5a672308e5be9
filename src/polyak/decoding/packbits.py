"""Count what PackBits deliver: libtiff drops what is too much, and says so to nobody.

Compiled, serial, without the interpreter lock.
"""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def unpacked(packed: np.ndarray) -> tuple[int, int]:
    """Count the bytes that some PackBits become, and those of the last code that are not there.

    Args:
        packed: uint8 (n,).

    >>> unpacked(np.array([2, 7, 7, 7, 255, 9, 128, 1, 5], np.uint8))
    (7, 1)
    """
    at, length = 0, 0
    while at < packed.size:
        code = np.int64(packed[at])
        if code < 128:  # so many bytes and one as they stand
            length += code + 1
            at += code + 2
        else:  # one byte many times; 128 is nothing
            length += 257 - code if code > 128 else 0
            at += 2 if code > 128 else 1
    return int(length), int(at - packed.size)
