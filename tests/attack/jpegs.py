"""JPEGs that no encoder at hand makes: lossless ones, odd but whole ones, other frames."""

import re
import struct

import numpy as np

_FRAME = re.compile(rb"\xff[\xc0-\xc3]\0[\x0b\x11\x14]\x08")


def frame(data: bytes) -> int:
    """Where the frame's marker stands."""
    return _FRAME.search(data).start()


def lossless(pixels: np.ndarray) -> bytes:
    """A lossless JPEG (SOF3) of uint8 (H, W) or (H, W, 3), each sample told from its left one."""
    planes = pixels.reshape(*pixels.shape[:2], -1).astype(int)
    height, width, count = planes.shape
    left = np.concatenate([np.zeros((height, 1, count), int), planes[:, :-1]], 1)
    left[1:, 0] = planes[:-1, 0]  # the first of a row by the one above
    left[0, 0] = 128
    steps = (planes - left).ravel()
    sizes = np.ceil(np.log2(np.abs(steps) + 1)).astype(int)
    rest = np.where(steps < 0, steps + (1 << sizes) - 1, steps)
    bits = "".join(
        f"{size:05b}" + (f"{value:0{size}b}" if size else "")
        for size, value in zip(sizes.tolist(), rest.tolist(), strict=True)
    )
    bits += "1" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    table = bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))  # 17 codes of 5 bits
    parts = b"".join(bytes([i + 1, 0x11, 0]) for i in range(count))
    scan = b"".join(bytes([i + 1, 0]) for i in range(count))
    return b"".join(
        [
            b"\xff\xd8\xff\xc4" + struct.pack(">HB", 3 + len(table), 0) + table,
            b"\xff\xc3" + struct.pack(">HBHHB", 8 + 3 * count, 8, height, width, count) + parts,
            b"\xff\xda" + struct.pack(">HB", 6 + 2 * count, count) + scan + b"\1\0\0",
            body + b"\xff\xd9",
        ]
    )


def as_ycck(data: bytes) -> bytes:
    """Call the inks of a CMYK JPEG what Photoshop writes: luminance, colour, black."""
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\2" + data[at + 12 :]


def _junk(data, draw):
    at = frame(data)
    return (
        data[:at] + draw.integers(0, 255, draw.integers(1, 9), dtype=np.uint8).tobytes() + data[at:]
    )


def _stuffing(data, draw):
    at = frame(data)
    return data[:at] + b"\xff\0" * draw.integers(1, 4) + data[at:]


def _fill(data, draw):
    at = frame(data)
    return data[:at] + b"\xff" * draw.integers(1, 4) + data[at:]


def _version(data, draw):
    return data.replace(b"JFIF\0\1", b"JFIF\0" + bytes([draw.integers(2, 9)]))


def _restart(data, draw):
    at = frame(data)
    return data[:at] + b"\xff\xd3" + data[at:]


def _trailer(data, draw):
    return data + draw.bytes(draw.integers(1, 200))


def _padding(data, draw):
    """Zeros behind the last block, as some cameras write."""
    return data[:-2] + bytes(draw.integers(8, 60)) + data[-2:]


def _unknown_adobe(data, draw):
    at = data.find(b"Adobe")
    return data if at < 0 else data[: at + 11] + b"\x17" + data[at + 12 :]


def _twice(data, draw):
    """Another image behind the first, as in multi-picture files."""
    return data + data


ODDITIES = (_junk, _stuffing, _fill, _version, _restart, _trailer, _padding, _twice, _unknown_adobe)


def reframed(data: bytes, draw) -> bytes:
    """Call the frame another kind, of another depth, or both."""
    at, other = frame(data), bytearray(data)
    kinds = (0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
    if draw.integers(4):
        other[at + 1] = kinds[draw.integers(len(kinds))]
    if draw.integers(3) == 0 or other == data:
        other[at + 4] = (2, 4, 7, 9, 10, 12, 16)[draw.integers(7)]
    return bytes(other)
