"""Count what a JPEG's entropy-coded data deliver, without making pixels of it.

libjpeg says of broken data only its first complaint, and nothing of a few bytes too many. Here each
code is read and thrown away, so that it is known to the bit where the last block of a scan ends.
Compiled, serial, without the interpreter lock.
"""

from typing import Any

import numba
import numpy as np

SEQUENTIAL, LOSSLESS, DC_FIRST, DC_MORE, AC_FIRST, AC_MORE = range(6)

_entry = numba.njit(nogil=True, cache=True, error_model="numpy")
_jit = numba.njit(error_model="numpy")
_one = np.uint64(1)


def table(counts: bytes, symbols: bytes) -> np.ndarray:
    r"""Lead 16 bits of data to the code that they begin with: length * 256 + symbol.

    Args:
        counts: how many codes have 1, 2, ... 16 bits.
        symbols: what they stand for, in the order of the codes.

    Returns:
        uint16 (65536,); 0 where no code begins so.

    Raises:
        ValueError: more codes than there is room for.

    >>> [hex(table(b"\1\1" + bytes(14), b"ab")[bits << 14]) for bits in range(4)]
    ['0x161', '0x161', '0x262', '0x0']
    """
    lengths = np.repeat(np.arange(1, 17), list(counts))
    entries = lengths * 256 + np.frombuffer(symbols, np.uint8)
    filled = np.repeat(entries, 1 << (16 - lengths))
    if len(filled) > 1 << 16:
        raise ValueError("more Huffman codes than fit")
    return np.pad(filled, (0, (1 << 16) - len(filled))).astype(np.uint16)


@_entry
def walk(
    data: np.ndarray,
    edges: np.ndarray,
    plan: Any,
    tables: np.ndarray,
    planes: Any,
    seen: np.ndarray,
) -> Any:
    """Read the codes of one scan, interval by interval.

    Args:
        data: uint8, the intervals one behind the other, without stuffing, eight bytes more.
        edges: int64 (n + 1,), where each interval begins, and the end.
        plan: int64 (6,): kind of scan, MCUs in all, MCUs an interval, first and last coefficient,
            and (of a refinement) nothing more.
        tables: uint16 (8, 65536): four of DC, four of AC.
        planes: int64 (m, 2), DC and AC table of each block of an MCU.
        seen: uint64 (blocks,), the coefficients that are not zero, a bit each; of AC scans alone.

    Returns:
        int64 (n,), the bits that each interval uses; -1 from the first on that does not hold all
        its blocks, or holds what is no code.
    """
    kind, left, every = plan[0], plan[1], plan[2]
    first, last = plan[3], plan[4]
    used = np.full(edges.size - 1, -1, np.int64)
    block = 0
    for i in range(used.size):
        at, end = edges[i] * 8, edges[i + 1] * 8
        run = 0
        for _ in range(min(left, every)):
            if kind == SEQUENTIAL:
                at = _sequential(data, at, tables, planes)
            elif kind == LOSSLESS or kind == DC_FIRST:
                at = _differences(data, at, tables, planes)
            elif kind == DC_MORE:
                at += planes.shape[0]
            elif kind == AC_FIRST:
                at, run = _band(data, at, run, (first, last), tables[planes[0, 1]], seen[block:])
            else:
                at, run = _finer(data, at, run, (first, last), tables[planes[0, 1]], seen[block:])
            block += 1
            if at < 0 or at > end:
                return used
        if run > 0:
            return used
        left -= min(left, every)
        used[i] = at - edges[i] * 8
    return used


@_jit
def _bits(data, at, n):
    byte = min(at >> 3, data.size - 4)  # blocks may run past the end before it is noticed
    word = (
        np.int64(data[byte]) << 24
        | np.int64(data[byte + 1]) << 16
        | np.int64(data[byte + 2]) << 8
        | np.int64(data[byte + 3])
    )
    return word >> (32 - n - (at & 7)) & ((1 << n) - 1)


@_jit
def _differences(data, at, tables, planes):
    """One DC coefficient (or sample) of each block: how many bits, then these."""
    for b in range(planes.shape[0]):
        code = np.int64(tables[planes[b, 0], _bits(data, at, 16)])
        size = code & 255
        if code == 0 or size > 16:
            return np.int64(-1)
        at += (code >> 8) + (size if size < 16 else 0)
    return at


@_jit
def _sequential(data, at, tables, planes):
    for b in range(planes.shape[0]):
        code = np.int64(tables[planes[b, 0], _bits(data, at, 16)])
        if code == 0:
            return np.int64(-1)
        at += (code >> 8) + (code & 255)
        ac, k = planes[b, 1], 1
        while k < 64:
            code = np.int64(tables[ac, _bits(data, at, 16)])
            size, zeros = code & 15, code >> 4 & 15
            if code == 0:
                return np.int64(-1)
            at += (code >> 8) + size
            if size == 0 and zeros != 15:
                break
            k += zeros + 1
        if k > 64:
            return np.int64(-1)
    return at


@_jit
def _band(data, at, run, band, codes, seen):
    """Coefficients of a band for the first time; `run` blocks more have none."""
    if run > 0:
        return at, run - 1
    k = band[0]
    while k <= band[1]:
        code = np.int64(codes[_bits(data, at, 16)])
        size, zeros = code & 15, code >> 4 & 15
        if code == 0:
            return np.int64(-1), np.int64(0)
        at += (code >> 8) + size
        if size == 0 and zeros < 15:
            more = _bits(data, at, zeros)
            return at + zeros, (np.int64(1) << zeros) - 1 + more
        k += zeros
        if k > band[1]:
            return np.int64(-1), np.int64(0)
        if size > 0:
            seen[0] |= _one << np.uint64(k)
        k += 1
    return at, np.int64(0)


@_jit
def _finer(data, at, run, band, codes, seen):
    """One bit more of a band's coefficients, a bit for each that is not zero already."""
    k = band[0]
    while run == 0 and k <= band[1]:
        code = np.int64(codes[_bits(data, at, 16)])
        size, zeros = code & 15, code >> 4 & 15
        if code == 0 or size > 1:
            return np.int64(-1), np.int64(0)
        at += (code >> 8) + size
        if size == 0 and zeros < 15:
            run = (np.int64(1) << zeros) + _bits(data, at, zeros)
            at += zeros
            break
        while k <= band[1] and (zeros > 0 or _known(seen, k)):
            if _known(seen, k):
                at += 1
            else:
                zeros -= 1
            k += 1
        if k > band[1]:
            return np.int64(-1), np.int64(0)
        if size > 0:
            seen[0] |= _one << np.uint64(k)
        k += 1
    if run > 0:
        for rest in range(k, band[1] + 1):
            at += 1 if _known(seen, rest) else 0
        run -= 1
    return at, run


@_jit
def _known(seen, k):
    return (seen[0] >> np.uint64(k)) & _one == _one
