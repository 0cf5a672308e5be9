"""TIFFs that are whole are taken, whatever their compression; strips that end early are missed."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from attack import mutate
from attack.bases import texture
from attack.images import LOST, expected, flat_tail
from polyak.decoding import Unreadable, decode
from samples import encoded

PIXELS = texture(np.random.default_rng(3), 88, 104)
GREY = Image.fromarray(PIXELS[:, :, 0])


def test_strips_that_are_missing_are_missed():
    data = encoded(PIXELS, "TIFF")
    taller = bytearray(data)
    mutate.tiff_tag(taller, 257, 500)
    with pytest.raises(Unreadable, match="not for all of its pixels"):
        decode(bytes(taller))


def test_a_jpeg_inside_of_a_tiff_is_checked_as_one():
    data = encoded(PIXELS, "TIFF", compression="jpeg")
    end = data.index(b"\xff\xd9", data.index(b"\xff\xda"))
    middle = (data.index(b"\xff\xda") + end) // 2
    closed = data[:middle] + b"\xff\xd9" + data[middle + 2 :]
    with pytest.raises(Unreadable, match="JPEG"):
        decode(closed)


@pytest.mark.parametrize("options", [{}, {"tiffinfo": {262: 0}}, {"strip_size": 200}])
@pytest.mark.parametrize("how", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("turn", [None, 6])
def test_a_fax_that_is_whole_is_taken(how, options, turn):
    page = Image.new("1", (100, 60), 1)
    page.paste(Image.fromarray(PIXELS[:20]).convert("1"), (0, 10))
    if turn:
        options = {**options, "tiffinfo": {**options.get("tiffinfo", {}), 274: turn}}
    data = encoded(page, "TIFF", compression=how, **options)
    assert np.array_equal(decode(data), expected(data))


@pytest.mark.parametrize("strip_size", [1 << 16, 500])
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK"])
def test_packed_bits_are_counted(mode, strip_size):
    image = Image.fromarray(PIXELS).convert(mode)
    data = encoded(image, "TIFF", compression="packbits", strip_size=strip_size)
    assert np.array_equal(decode(data), expected(data))
    with Image.open(io.BytesIO(data)) as opened:
        start, size = opened.tag_v2[273][0], opened.tag_v2[279][0]
    for code in (0x00, 0x81):  # one byte as it stands, or one 128 times
        other = data[:start] + bytes([code]) + data[start + 1 :]
        with pytest.raises(Unreadable, match="end early or are damaged"):
            pytest.fail(f"{code:x} in {size} bytes: {decode(other).shape}")


def test_a_byte_more_makes_packed_bits_even():
    data = bytearray(encoded(GREY, "TIFF", compression="packbits"))
    with Image.open(io.BytesIO(data)) as opened:
        size = opened.tag_v2[279][0]
    mutate.tiff_tag(data, 273, len(data))
    mutate.tiff_tag(data, 279, size + 1)
    even = bytes(data) + bytes(data[8 : 8 + size]) + b"\x80"
    assert np.array_equal(decode(even), np.asarray(GREY.convert("RGB")))


@pytest.mark.parametrize("how", ["packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_strips_without_a_place_are_missed(how):
    """libtiff takes the first for the whole image, and what is not there for zeros."""
    data = bytearray(encoded(PIXELS, "TIFF", compression=how))
    start, count = struct.unpack_from("<I", data, 4)[0], 0
    for i in range(struct.unpack_from("<H", data, start)[0]):
        entry = start + 2 + 12 * i
        if struct.unpack_from("<H", data, entry)[0] == 273:
            struct.pack_into("<I", data, entry + 4, 0)
            count += 1
    with pytest.raises(Unreadable):
        pytest.fail(f"{count}: {decode(bytes(data)).shape}")


def test_a_palette_that_was_overwritten_is_missed():
    data = bytearray(encoded(Image.fromarray(PIXELS).quantize(64), "TIFF", compression="tiff_lzw"))
    assert np.ptp(decode(bytes(data))) > 100
    with Image.open(io.BytesIO(data)) as opened:
        colours = struct.pack(f"<{3 * 256}H", *opened.tag_v2[320])
    at = bytes(data).index(colours)
    for start, value in ((0, 0), (20, 0x6E)):  # the first ten of red are there
        data[at + start : at + len(colours)] = bytes([value]) * (len(colours) - start)
        with pytest.raises(Unreadable, match="palette"):
            decode(bytes(data))
    reds = Image.fromarray(PIXELS[:, :, 0]).quantize(16)
    reds.putpalette([channel for red in range(16) for channel in (red * 17, 0, 0)])
    assert np.ptp(decode(encoded(reds, "TIFF"))[:, :, 0]) > 100
    black = encoded(Image.new("P", (9, 9)), "TIFF")
    assert decode(black).max() == 0


@pytest.mark.parametrize("how", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_of_another_width_is_refused(how):
    """libtiff makes white of what a line does not have."""
    taken = []
    for seed in range(4):
        pixels = texture(np.random.default_rng(seed), 28, 14)
        data = bytearray(encoded(Image.fromarray(pixels).convert("1"), "TIFF", compression=how))
        for width in range(20, 120):
            mutate.tiff_tag(data, 256, width)
            try:
                taken.append(flat_tail(decode(bytes(data))))
            except Unreadable:
                continue
    assert max(taken, default=0) < LOST and len(taken) < 4  # what fits by chance


@pytest.mark.parametrize("how", ["group3", "group4", "tiff_ccitt"])
def test_small_faxes_are_taken_though_libtiff_reads_some_last_lines_wrongly(how):
    wrong = 0
    for seed in range(300):
        draw = np.random.default_rng(seed)
        pixels = draw.integers(0, 2, draw.integers(1, 40, 2)).astype(bool)
        data = encoded(Image.fromarray(pixels), "TIFF", compression=how)
        found = decode(data)
        assert np.array_equal(found[:-1, :, 0] > 0, pixels[:-1])
        wrong += not np.array_equal(found[-1, :, 0] > 0, pixels[-1])
    assert wrong < 30


def test_zeros_at_the_end_of_short_strips_of_lzma_are_whole():
    for seed in range(40):
        draw = np.random.default_rng(seed)
        pixels = texture(draw, 37, 55)
        pixels[draw.integers(37) :] = draw.integers(0, 256, 3)
        data = encoded(pixels, "TIFF", compression="lzma", strip_size=512)
        assert np.array_equal(decode(data), pixels)


def test_lzma_that_was_overwritten_in_the_middle_is_missed():
    """A hundred bytes of pixels: libtiff is through before anything fails to fit."""
    draw, wrong = np.random.default_rng(3), 0
    for _ in range(200):
        pixels = texture(draw, 105, 64)[:, :, 0] > draw.integers(90, 160)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "TIFF", compression="lzma")
        data = bytearray(file.getvalue())
        start, stop = data.index(b"\xfd7zXZ") + 40, data.index(b"YZ") - 40
        first = int(draw.integers(start, max(start + 1, stop - 30)))
        data[first : first + 30] = bytes(30)
        try:
            wrong += not np.array_equal(decode(bytes(data))[:, :, 0] > 0, pixels)
        except Unreadable:
            continue
    assert wrong == 0
