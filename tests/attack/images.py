"""Attacks on the decoders: is an image that was cut or overwritten ever taken with a flat end?"""

import io

import numpy as np
from PIL import Image, ImageOps

from attack import bases, mutate
from polyak.decoding.decode import decode
from polyak.decoding.header import read_header
from polyak.decoding.unreadable import Unreadable

# overwritten headers may turn all colours into one: no compressed data are lost
_ANY_COLOURS = {"header", "sizes", "flipped", "spliced"}
ATTACKS = (*mutate.KINDS, "other frames")


def attack(seed: int, number: int) -> tuple[str, str, str]:
    """Make one input and decode it: its format, what was done to it, and what came of it.

    What comes of it: used, refused, or what must not be: flat tail, wrong, whole but refused, or an
    exception.
    """
    base, kind, data = made(seed, number)
    name = base.format
    try:
        header = read_header(data, pixel_cap=4_000_000)
        pixels = decode(data, pixel_cap=4_000_000)
        smaller = decode(data, pixel_cap=4_000_000, least=(16, 16))
    except Unreadable as error:
        refused = kind == "whole" and base.name != "other frames"
        return name, kind, f"whole but refused: {error.reason}" if refused else "refused"
    except Exception as error:
        return name, kind, f"{type(error).__name__}: {error}"
    if pixels.shape[:2] != header.size or smaller.shape[:2] != header.shrunk((16, 16))[1]:
        return name, kind, "wrong size"
    if kind == "whole" and base.name != "other frames":
        worst = np.abs(pixels.astype(int) - expected(data)).max()
        return name, kind, "used" if worst <= 2 else f"wrong by {worst}"
    tail = flat_tail(pixels)
    lost = base.compressed and tail >= 0.04 and (tail < 0.95 or kind not in _ANY_COLOURS)
    return name, kind, "flat tail" if lost else "used"


def made(seed: int, number: int) -> tuple[bases.Base, str, bytes]:
    """Make the input of a number: what it was, what was done to it, and the bytes."""
    draw = np.random.default_rng([seed, number])
    base, other = bases.make(draw), bases.make(draw)
    kinds = list(mutate.KINDS)
    kind = kinds[draw.integers(len(kinds))]
    return base, kind, mutate.KINDS[kind](base, other, draw)


def flat_tail(pixels: np.ndarray) -> float:
    """How much of an image, from its end backwards, is flat: each 8 x 8 block has one colour, or
    rows or columns that are all alike. 0 to 1.
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
    """What Pillow alone makes of a whole file."""
    with Image.open(io.BytesIO(data)) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) / 257 + 0.5).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB")).astype(int)
