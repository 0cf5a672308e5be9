"""Attacks on the decoders: is an image that was cut or overwritten ever taken with a flat end?"""

import io
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps

from attack import bases, mutate
from polyak.decoding import Unreadable, decode, image_pixels
from polyak.decoding.exif import upright
from polyak.decoding.header import read_header
from polyak.decoding.jpeg_clean import cleaned
from polyak.decoding.parts import gif_parts
from polyak.decoding.pillow import open_pillow
from polyak.decoding.strips import pieces_of

CAP = 4_000_000  # pixels
LOST = 0.04  # of an image, flat at its end
# overwritten headers may turn all of an image into one colour: no compressed data are lost
_ANY_COLOURS = {"header", "sizes", "flipped", "spliced"}
_END_IS_THERE = {"flipped", "spliced", "zero middle"}


def describe(seed: int, number: int) -> tuple[str, str]:
    """Give the format of an input, and what was done to it."""
    base, kind, _ = made(seed, number)
    return base.format, kind


@lru_cache(maxsize=1)
def made(seed: int, number: int) -> tuple[bases.Base, str, bytes]:
    """Make the input of a number: what it was, what was done to it, and the bytes."""
    draw = np.random.default_rng([seed, number])
    base, other = bases.make(draw), bases.make(draw)
    kinds = list(mutate.KINDS)
    kind = kinds[draw.integers(len(kinds))]
    return base, kind, mutate.KINDS[kind](base, other, draw)


def attack(seed: int, number: int) -> str:
    """Decode the input of a number, whole and smaller, from bytes and as Pillow opened it.

    Returns:
        used or refused; else what must not be: whole but refused, a wrong size or wrong pixels, a
        flat end of which nobody was told, another answer when Pillow has opened it.
    """
    base, kind, data = made(seed, number)
    whole = kind == "whole" and base.name != "other frames"
    try:
        header = read_header(data, CAP)
        pixels = decode(data, CAP)
        smaller = decode(data, CAP, min_size=(16, 16))
    except Unreadable as error:
        if number % 8 == 0 and _as_pillow_opens_it(data) is not None:
            return "refused, but used as Pillow opened it"
        return f"whole but refused: {error.reason}" if whole else "refused"
    if pixels.shape[:2] != header.size or smaller.shape[:2] != header.shrunk((16, 16))[1]:
        return "wrong size"
    if whole and (worst := np.abs(pixels.astype(int) - expected(data)).max()) > 2:
        return f"wrong by {worst}"
    if number % 8 == 0:
        again = _as_pillow_opens_it(data)
        if again is not None and not np.array_equal(again, pixels):
            return "other pixels as Pillow opened it"
    if whole or not base.compressed:
        return "used"
    lies = upright(pixels, {6: 8, 8: 6}.get(header.orientation, header.orientation))
    return "flat tail" if _lost(base, kind, data, lies) else "used"


def describe_whole(seed: int, number: int) -> tuple[str, str]:
    """Give the format of a whole file, and its kind."""
    base = whole(seed, number)
    return base.format, base.name[:15]


@lru_cache(maxsize=1)
def whole(seed: int, number: int) -> bases.Base:
    """Make the whole file of a number, of an image with flat parts, which fill looks like."""
    return bases.make(np.random.default_rng([seed, number]), bases.flattened)


def attack_whole(seed: int, number: int) -> str:
    """Decode the whole file of a number: it must be used, with the pixels that Pillow gives it.

    But for other frames, and for a flat end that is coded as zeros and has zeros behind it: nobody
    can tell this from data that were overwritten with zeros.
    """
    base = whole(seed, number)
    padded = base.format == "JPEG" and base.data.endswith(bytes(8) + b"\xff\xd9")
    try:
        pixels = decode(base.data, CAP)
    except Unreadable as error:
        fine = base.name == "other frames" or (padded and "something else" in error.reason)
        return "refused" if fine else f"whole but refused: {error.reason}"
    if base.name == "other frames":
        return "used"
    worst = np.abs(pixels.astype(int) - expected(base.data)).max()
    return "used" if worst <= 2 else f"wrong by {worst}"


def _lost(base: bases.Base, kind: str, data: bytes, pixels: np.ndarray) -> bool:
    """Tell whether an image, as it lies in its file, has a flat end that the whole one had not."""
    steps = 0 if kind == "header" else 1  # other tables may leave little contrast
    tail = flat_tail(_frame(data, pixels), steps)
    if tail < LOST or (tail >= 0.95 and (kind in _ANY_COLOURS or _only_colours(base, data))):
        return False
    if tail < LOST + flat_tail(decode(base.data, CAP), steps):
        return False
    if base.format == "JPEG" or base.name.startswith("jpeg"):
        # other tables make other pixels of the same data, all black or white ones perhaps
        return kind != "header" and (kind not in _END_IS_THERE or not _accounted(data))
    return True


def _only_colours(base: bases.Base, data: bytes) -> bool:
    """Tell whether a GIF lost colours of its palette, and nothing of its compressed data."""
    if base.format != "GIF" or len(data) != len(base.data):
        return False
    parts = gif_parts(data)
    return parts == gif_parts(base.data) and all(data[a:b] == base.data[a:b] for a, b in parts)


def _accounted(data: bytes) -> bool:
    """Tell whether each code up to the end of a JPEG's data is of some block: no data are lost, but
    brightness is told as differences, and blocks behind a wrong one may all be black or white.
    """
    files = [data]
    if not data.startswith(b"\xff\xd8"):
        with open_pillow(data, "TIFF") as image:
            tags = dict(image.tag_v2)
        start = b"\xff\xd8" + tags.get(347, b"")[2:-2]  # tables of all strips
        files = [start + data[piece.start + 2 : piece.stop] for piece in pieces_of(tags, len(data))]
    try:
        return all(map(cleaned, files))
    except Unreadable:
        return False


def _frame(data: bytes, pixels: np.ndarray) -> np.ndarray:
    """Leave what the first frame of a GIF or WebP brings: a screen may be of any size."""
    left, top, (bottom, right) = 0, 0, pixels.shape[:2]
    if data.startswith(b"GIF"):
        with open_pillow(data, "GIF") as image:
            left, top, right, bottom = image.tile[0].extents
    elif data.startswith(b"RIFF") and (at := data.find(b"ANMF")) > 0:
        numbers = (int.from_bytes(data[i : i + 3], "little") for i in range(at + 8, at + 20, 3))
        left, top, width, height = next(numbers) * 2, next(numbers) * 2, *numbers
        right, bottom = left + width + 1, top + height + 1
    return pixels[top:bottom, left:right]


def _as_pillow_opens_it(data: bytes) -> np.ndarray | None:
    """Decode what Pillow has opened and not read; None: refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return image_pixels(Image.open(io.BytesIO(data)), CAP)
        except Unreadable:
            return None
        except Exception:  # Pillow's own, as it opens it
            return None


def flat_tail(pixels: np.ndarray, steps: int = 1) -> float:
    """Measure how much of an image, from its end backwards, is flat, 0 to 1: blocks of 8 x 8 of
    which all rows or all columns are alike, but for some steps of 255.
    """
    height, width = pixels.shape[0] // 8, pixels.shape[1] // 8
    if height * width < 4:
        return 0.0
    blocks = pixels[-height * 8 :, : width * 8].reshape(height, 8, width, 8, 3).astype(int)
    down = np.ptp(blocks, axis=1).max(axis=(2, 3)) <= steps
    across = np.ptp(blocks, axis=3).max(axis=(1, 3)) <= steps
    flat = (down | across).ravel()[::-1]
    run = len(flat) if flat.all() else int(flat.argmin())
    return run / len(flat) if run >= 2 else 0.0


def expected(data: bytes) -> np.ndarray:
    """Give what Pillow alone makes of a whole file."""
    with Image.open(io.BytesIO(data)) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) / 257 + 0.5).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB")).astype(int)
