"""WebPs whose compressed data are longer than their image needs were overwritten."""

import struct

import numpy as np
import pytest
from PIL import Image

from attack.bases import texture
from attack.images import LOST, flat_tail
from attack.mutate import mended_riff
from polyak.decoding import Unreadable, decode
from polyak.decoding.parts import webp_parts
from samples import encoded

PIXELS = texture(np.random.default_rng(3), 88, 104)
CLEAR = np.dstack([PIXELS, PIXELS[:, ::-1, 0]])
KINDS = {
    "lossy": encoded(PIXELS, "WEBP", quality=60),
    "lossless": encoded(PIXELS, "WEBP", lossless=True),
    "lossy and clear": encoded(CLEAR, "WEBP", quality=60),
    "lossless and clear": encoded(CLEAR, "WEBP", lossless=True),
    "animation": encoded(
        Image.fromarray(CLEAR), "WEBP", save_all=True, append_images=[Image.fromarray(CLEAR[::-1])]
    ),
}


def test_an_image_with_transparency_has_two_parts():
    assert {name: len(webp_parts(data)) for name, data in KINDS.items()} == {
        "lossy": 1,
        "lossless": 1,
        "lossy and clear": 2,
        "lossless and clear": 1,
        "animation": 2,
    }


@pytest.mark.parametrize("value", [0, 0x20, 0xFF])
@pytest.mark.parametrize("name", KINDS)
def test_bytes_that_are_alike_leave_no_flat_end(name, value):
    """In the middle too, from which the rest is read as if it began a little later."""
    data, refused = KINDS[name], 0
    for start, stop in webp_parts(data):
        for first in range(20, 90, 10):
            for last in range(first + 10, 101, 10):
                a, b = (start + (stop - start) * part // 100 for part in (first, last))
                try:
                    found = decode(data[:a] + bytes([value]) * (b - a) + data[b:])
                    assert flat_tail(found) < LOST, (first, last)
                except Unreadable:
                    refused += 1
    assert refused > 20


@pytest.mark.parametrize("name", KINDS)
def test_a_bit_that_is_flipped_leaves_no_flat_end(name):
    """What follows is read as something else, which may need less."""
    data, draw, refused = KINDS[name], np.random.default_rng(0), 0
    start, stop = webp_parts(data)[-1]
    for place in draw.integers(start + 10, stop, 150).tolist():
        flipped = data[:place] + bytes([data[place] ^ 1 << draw.integers(8)]) + data[place + 1 :]
        try:
            assert flat_tail(decode(flipped)) < LOST, place
        except Unreadable:
            refused += 1
    assert refused


@pytest.mark.parametrize("name", ["lossy", "lossless"])
@pytest.mark.parametrize("more", [7, 200])
def test_behind_its_data_an_image_with_a_flat_end_has_nothing(name, more):
    pixels = PIXELS.copy()
    pixels[60:] = 90
    data = encoded(pixels, "WEBP", lossless=name == "lossless", quality=90)
    ((start, stop),) = webp_parts(data)
    assert decode(data).shape == (88, 104, 3)
    junk = np.random.default_rng(0).bytes(more)
    longer = (stop - start + more).to_bytes(4, "little")
    with pytest.raises(Unreadable, match="not of the image"):
        decode(mended_riff(data[: start - 4] + longer + data[start:stop] + junk))


@pytest.mark.parametrize("side", [1, 2, 16, 33])
def test_images_of_few_bytes_are_whole(side):
    """Their coefficients may be none at all, or three bytes that only fill the coder's word."""
    for colour in range(0, 256, 15):
        for quality in (1, 50, 100):
            pixels = np.full((side, side, 3), (colour, 255 - colour, 7), np.uint8)
            assert decode(encoded(pixels, "WEBP", quality=quality)).shape == pixels.shape
            clear = np.dstack([pixels, np.full((side, side), colour, np.uint8)])
            assert decode(encoded(clear, "WEBP", quality=quality)).shape == pixels.shape


@pytest.mark.parametrize("lossless", [False, True])
def test_a_frame_smaller_than_its_animation_says_is_refused(lossless):
    """libwebp leaves the rest of it empty."""
    frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
    options = {"save_all": True, "append_images": frames[1:], "lossless": lossless}
    data = bytearray(encoded(frames[0], "WEBP", **options))
    assert decode(bytes(data)).shape == (88, 104, 3)
    start = webp_parts(bytes(data))[-1][0]
    for smaller in (80, 84):
        if lossless:
            (bits,) = struct.unpack_from("<I", data, start + 1)
            struct.pack_into("<I", data, start + 1, bits & ~(0x3FFF << 14) | (smaller - 1) << 14)
        else:
            struct.pack_into("<H", data, start + 8, smaller)
        with pytest.raises(Unreadable):
            pytest.fail(f"{smaller}: {decode(bytes(data)).shape}")
