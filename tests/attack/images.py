"""Attacks on the decoders: is an image that was cut or overwritten ever taken with a flat end?"""

import io
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps

from attack import bases, mutate
from polyak.decoding import Unreadable, decode, image_pixels
from polyak.decoding.header import read_header

CAP = 4_000_000  # pixels
LOST = 0.04  # of an image, flat at its end
# overwritten headers may turn all of an image into one colour: no compressed data are lost
_ANY_COLOURS = {"header", "sizes", "flipped", "spliced"}


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
        smaller = decode(data, CAP, least=(16, 16))
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
    tail = flat_tail(pixels)
    lost = base.compressed and tail >= LOST and (tail < 0.95 or kind not in _ANY_COLOURS)
    return "flat tail" if lost and not whole else "used"


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


def flat_tail(pixels: np.ndarray) -> float:
    """Measure how much of an image, from its end backwards, is flat, 0 to 1: blocks of 8 x 8 of
    which all rows or all columns are alike.
    """
    height, width = pixels.shape[0] // 8, pixels.shape[1] // 8
    if height * width < 4:
        return 0.0
    blocks = pixels[-height * 8 :, : width * 8].reshape(height, 8, width, 8, 3).astype(int)
    down = np.ptp(blocks, axis=1).max(axis=(2, 3)) <= 1
    across = np.ptp(blocks, axis=3).max(axis=(1, 3)) <= 1
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
