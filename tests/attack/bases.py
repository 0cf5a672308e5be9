"""Whole files of every format and kind, from a generator: what attacks begin with."""

import io
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image

from attack import jpegs

Draw = np.random.Generator


class Base(NamedTuple):
    """A whole file, and whether its pixels are compressed: only then is lost data noticed."""

    format: str
    name: str
    data: bytes
    compressed: bool = True


def texture(draw: Draw, height: int, width: int) -> np.ndarray:
    """Pixels of which no block is flat: uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([x * 3 + y, y * 4 - x, (x + y) % 32 * 8], -1) % 256
    return np.clip(waves + draw.normal(0, 25, waves.shape), 0, 255).astype(np.uint8)


def flattened(draw: Draw, pixels: np.ndarray) -> np.ndarray:
    """Pixels of which parts are of one colour, as skies, margins and drawings have: a new array."""
    height, width = pixels.shape[:2]
    top, left = int(draw.integers(height)), int(draw.integers(width))
    colour = pick(draw, 0, 255, draw.integers(0, 256, 3))
    parts = (np.s_[top:], np.s_[:, left:], np.s_[:top], np.s_[top:, left:], np.s_[:])
    flat = pixels // 32 * 32 if draw.integers(2) else pixels.copy()
    flat[pick(draw, *parts)] = colour
    flat[top:] = flat[top] if draw.integers(4) == 0 else flat[top:]  # rows alike
    return flat


def make(draw: Draw, change: Callable[[Draw, np.ndarray], np.ndarray] | None = None) -> Base:
    """Draw a format, a kind of it and an image, change it perhaps, and write the file."""
    names = [name for name, share in _SHARES for _ in range(share)]
    kind = names[draw.integers(len(names))]
    height, width = (int(side) for side in draw.integers(4, 120, 2))
    pixels = texture(draw, height, width)
    return _MAKERS[kind](draw, Image.fromarray(change(draw, pixels) if change else pixels))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    """The file that Pillow makes of an image."""
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def exif(draw: Draw) -> Image.Exif:
    """An orientation."""
    found = Image.Exif()
    found[0x0112] = int(draw.integers(1, 9))
    return found


def pick(draw: Draw, *choices):
    """Draw one of several."""
    return choices[draw.integers(len(choices))]


def _jpeg(draw: Draw, image: Image.Image) -> Base:
    mode = pick(draw, "RGB", "RGB", "RGB", "L", "CMYK")
    options = {"quality": int(draw.integers(5, 98)), "optimize": bool(draw.integers(2))}
    options["progressive"] = bool(draw.integers(2))
    if mode == "RGB" or draw.integers(2):
        options["subsampling"] = pick(draw, "4:4:4", "4:2:2", "4:2:0", "4:1:1")
    if draw.integers(3) == 0:
        options["restart_marker_blocks"] = int(draw.integers(1, 9))
    if draw.integers(4) == 0:
        options["exif"] = exif(draw)
    if draw.integers(4) == 0:
        options["comment"] = b"\xff\xd8\xff\xc0 a comment \xff\xd9"
    data = saved(image.convert(mode), "JPEG", **options)
    name = mode + (" progressive" if options["progressive"] else "")
    if mode == "CMYK" and draw.integers(2):
        data, name = jpegs.as_ycck(data), name.replace("CMYK", "YCCK")
    oddity = pick(draw, None, None, None, *jpegs.ODDITIES)
    return Base("JPEG", name, oddity(data, draw) if oddity else data)


def _lossless(draw: Draw, image: Image.Image) -> Base:
    small = image.crop((0, 0, min(40, image.width), min(40, image.height)))
    pixels = np.asarray(small.convert(pick(draw, "L", "RGB")))
    return Base("JPEG", "lossless", jpegs.lossless(pixels))


def _jpeg_kinds(draw: Draw, image: Image.Image) -> Base:
    """Frames that are refused: arithmetic, hierarchical, lossless of other depths, 12 bits."""
    data = _jpeg(draw, image).data if draw.integers(2) else _lossless(draw, image).data
    return Base("JPEG", "other frames", jpegs.reframed(data, draw))


def _png(draw: Draw, image: Image.Image) -> Base:
    mode = pick(draw, "1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    options = {"compress_level": int(draw.integers(0, 10))}
    if draw.integers(4) == 0:
        options["exif"] = exif(draw)
    if draw.integers(6) == 0:
        options |= {"save_all": True, "append_images": [image.rotate(180)]}
    return Base("PNG", mode, saved(image, "PNG", **options))


def _interlaced(draw: Draw, image: Image.Image) -> Base:
    pixels = np.asarray(image.convert("L"))
    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    rows = b""
    for top, left, down, across in (*starts, (1, 0, 2, 1)):
        part = pixels[top::down, left::across]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    head = struct.pack(">IIBBBBB", image.width, image.height, 8, 0, 0, 0, 1)
    return Base("PNG", "interlaced", png_of(head, zlib.compress(rows)))


def png_of(head: bytes, packed: bytes) -> bytes:
    """A PNG of a header and compressed rows, with sums that fit."""
    parts = [(b"IHDR", head)]
    parts += [(b"IDAT", packed[i : i + 1000]) for i in range(0, len(packed), 1000)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        map(png_chunk, *zip(*parts, (b"IEND", b""), strict=True))
    )


def png_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk with its sum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _gif(draw: Draw, image: Image.Image) -> Base:
    mode = pick(draw, "L", "P", "RGB", "1")
    options = {"interlace": int(draw.integers(2))}
    if draw.integers(4) == 0 and mode != "1":
        options |= {"save_all": True, "append_images": [image.rotate(180).convert(mode)]}
    return Base("GIF", mode, saved(image.convert(mode), "GIF", **options))


def _webp(draw: Draw, image: Image.Image) -> Base:
    lossless = bool(draw.integers(2))
    mode = pick(draw, "RGB", "RGBA")
    if mode == "RGBA":
        image.putalpha(image.convert("L"))
    options = {"lossless": lossless, "quality": int(draw.integers(5, 100)), "method": 2}
    if draw.integers(4) == 0:
        options["exif"] = exif(draw)
    if draw.integers(6) == 0:
        options |= {"save_all": True, "append_images": [image.rotate(180)]}
    name = ("lossless " if lossless else "lossy ") + mode
    return Base("WEBP", name, saved(image, "WEBP", **options))


def _bmp(draw: Draw, image: Image.Image) -> Base:
    mode = pick(draw, "1", "L", "P", "RGB", "RGBA")
    return Base("BMP", mode, saved(image.convert(mode), "BMP"), compressed=False)


def _run_lengths(draw: Draw, image: Image.Image) -> Base:
    pixels = np.asarray(image.convert("L").quantize(8))
    body = b""
    for row in pixels[::-1]:
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        for start, stop in pairwise(edges):
            body += bytes([stop - start, row[start]])
        body += b"\0\0"
    body += b"\0\1"
    colours = draw.integers(0, 256, (256, 4), dtype=np.uint8).tobytes()
    size = image.width, image.height
    head = struct.pack("<IiiHHIIiiII", 40, *size, 1, 8, 1, len(body), 0, 0, 256, 0)
    start = 14 + len(head) + len(colours)
    whole = struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start)
    return Base("BMP", "run lengths", whole + head + colours + body)


def _tiff(draw: Draw, image: Image.Image) -> Base:
    how = pick(draw, *TIFFS)
    modes = {"group3": ["1"], "group4": ["1"], "tiff_ccitt": ["1"], "jpeg": ["L", "RGB", "YCbCr"]}
    mode = pick(draw, *modes.get(how, ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"]))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    options = {"compression": how, "strip_size": int(pick(draw, 1 << 16, 4096, 512))}
    if how in ("tiff_lzw", "tiff_adobe_deflate") and mode in ("L", "RGB") and draw.integers(2):
        options["tiffinfo"] = {317: 2}
    options["big_tiff"] = draw.integers(5) == 0
    data = saved(image, "TIFF", **options)
    return Base("TIFF", f"{how} {mode}", data, compressed=how != "raw")


FAXES = ("group3", "group4", "tiff_ccitt")
TIFFS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "lzma", "zstd", "jpeg", *FAXES)
_MAKERS: dict[str, Callable[[Draw, Image.Image], Base]] = {
    "jpeg": _jpeg,
    "lossless": _lossless,
    "frames": _jpeg_kinds,
    "png": _png,
    "interlaced": _interlaced,
    "gif": _gif,
    "webp": _webp,
    "bmp": _bmp,
    "run lengths": _run_lengths,
    "tiff": _tiff,
}
_SHARES = (
    ("jpeg", 24),
    ("lossless", 4),
    ("frames", 8),
    ("png", 12),
    ("interlaced", 2),
    ("gif", 10),
    ("webp", 14),
    ("bmp", 5),
    ("run lengths", 3),
    ("tiff", 18),
)
