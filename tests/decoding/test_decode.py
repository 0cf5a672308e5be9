import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from polyak.decoding.decode import decode
from polyak.decoding.exif import upright
from polyak.decoding.header import read_header
from polyak.decoding.unreadable import Unreadable

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]


def _pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _levels(a, b):
    return np.abs(a.astype(int) - b.astype(int))


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 64), (97, 131), (240, 320)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_fast_path_gives_pillows_pixels(size, subsampling, progressive, scene, encoded):
    options = {"quality": 85, "subsampling": subsampling, "progressive": progressive}
    data = encoded(scene(*size), "JPEG", **options)
    assert read_header(data).plain
    assert _levels(decode(data), _pillow(data)).max() <= 2


@pytest.mark.parametrize(
    "options", [{"restart_marker_blocks": 1}, {"quality": 5}, {"quality": 100}]
)
def test_the_fast_path_gives_pillows_pixels_for_odd_encodings(options, scene, encoded):
    for image in (scene(50, 61), scene(50, 61)[:, :, 0]):
        data = encoded(image, "JPEG", **options)
        assert _levels(decode(data), _pillow(data)).max() <= 2


def test_real_photographs_are_the_same_on_both_paths(photographs):
    worst = 0
    for path in photographs[:40]:
        data = path.read_bytes()
        if read_header(data).orientation == 1:
            worst = max(worst, _levels(decode(data), _pillow(data)).max())
    assert worst <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_out_upright(kind, orientation, scene, encoded):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(scene(24, 40), kind, exif=exif, **options)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    found = decode(data)
    assert found.flags.c_contiguous
    assert found.shape[:2] == read_header(data).size
    assert _levels(found, np.asarray(expected)).max() <= (2 if kind == "JPEG" else 0)


def test_orientations_form_a_group():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for orientation, inverse in ((2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)):
        turned = upright(pixels, orientation)
        assert not np.array_equal(turned, pixels)
        assert np.array_equal(upright(turned, inverse), pixels)


def test_cmyk_is_pillows_and_a_red_stays_red(encoded):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    data = encoded(cmyk, "JPEG", quality=95)
    assert not read_header(data).plain
    assert _levels(decode(data), _pillow(data)).max() == 0
    assert _levels(decode(data)[8, 8], np.array([255, 0, 0])).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind, encoded):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    found = decode(encoded(ramp, kind))
    assert len(np.unique(found)) == 256
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[0, 255].tolist() == [255, 255, 255]
    assert np.array_equal(found[0, :, 0], np.arange(256))


def test_big_endian_sixteen_bits_are_read_as_such():
    values = np.array([[0, 256, 32896, 65535]], np.uint16)
    data = _grey16_tiff(values, ">")
    assert decode(data)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert decode(_grey16_tiff(values, "<"))[0, :, 0].tolist() == [0, 1, 128, 255]


def _grey16_tiff(values, order):
    body = values.astype(order + "u2").tobytes()
    height, width = values.shape
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(body))]
    directory = struct.pack(order + "H", len(tags))
    directory += b"".join(
        struct.pack(order + "HHI", tag, 4 if tag in (273, 279) else 3, 1)
        + (struct.pack(order + "I", v) if tag in (273, 279) else struct.pack(order + "HH", v, 0))
        for tag, v in tags
    )
    magic = b"MM\0*" if order == ">" else b"II*\0"
    return magic + struct.pack(order + "I", 8 + len(body)) + body + directory + bytes(4)


def test_sixteen_bit_colour_keeps_its_levels():
    ramp = np.linspace(0, 65535, 256).astype(">u2")
    rows = np.repeat(ramp[None, :, None], 3, 2)
    found = decode(_png(256, 1, 16, 2, rows.tobytes()))
    assert np.array_equal(found[0, :, 0], np.arange(256))


def test_the_transparent_level_of_sixteen_bit_grey_is_white():
    levels = np.array([0, 30000, 65535], ">u2").tobytes()
    found = decode(_png(3, 1, 16, 0, levels, (b"tRNS", struct.pack(">H", 30000))))
    assert found[0, :, 0].tolist() == [0, 255, 255]


def _png(width, height, depth, colour, pixels, *chunks):
    def chunk(name, body):
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    stride = len(pixels) // height
    rows = b"".join(b"\0" + pixels[i * stride : (i + 1) * stride] for i in range(height))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_fixed_range_are_refused(mode, encoded):
    with pytest.raises(Unreadable, match="no fixed range"):
        decode(encoded(Image.new(mode, (4, 4), 7), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_lies_on_white_whatever_colour_hides_below(kind, encoded):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :, 0] = 200
    pixels[:4, :, 3] = 255
    pixels[6:, :, 3] = 128
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = decode(encoded(pixels, kind, **options))
    assert found[0, 0].tolist() == [200, 0, 0]
    assert found[4, 0].tolist() == [255, 255, 255]
    assert _levels(found[7, 0], np.array([227, 127, 127])).max() <= 1


def test_grey_alpha_palettes_and_single_bits(encoded):
    grey_alpha = np.array([[[50, 255], [50, 0]]], np.uint8)
    assert decode(encoded(grey_alpha, "PNG")).tolist() == [[[50] * 3, [255] * 3]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert decode(encoded(palette, "PNG")).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    clear = encoded(palette, "PNG", transparency=1)
    assert decode(clear).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    partly = encoded(palette, "PNG", transparency=b"\xff\x80")
    assert _levels(decode(partly)[0, 1], np.array([147, 152, 157])).max() <= 1
    assert decode(encoded(palette, "GIF", transparency=1)).tolist()[0][1] == [255, 255, 255]
    bits = Image.fromarray(np.array([[True, False]]))
    assert decode(encoded(bits, "PNG")).tolist() == [[[255] * 3, [0] * 3]]
    assert decode(encoded(np.array([[9]], np.uint8), "BMP")).tolist() == [[[9, 9, 9]]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_stands_for_an_animation(kind, encoded):
    first, second = (Image.new("RGB", (9, 7), c) for c in ((255, 0, 0), (0, 0, 255)))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert decode(data)[3, 3].tolist() == [255, 0, 0]


def test_a_multi_image_jpeg_is_its_first(scene, encoded):
    data = encoded(scene(30, 20), "MPO", save_all=True, append_images=[Image.new("RGB", (5, 5))])
    assert decode(data).shape == (30, 20, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 3)])
@pytest.mark.parametrize("kind", FORMATS)
def test_extreme_shapes(kind, size, scene, encoded):
    assert decode(encoded(scene(*size), kind)).shape == (*size, 3)


@pytest.mark.parametrize("percent", [1, 2, 5, 10, 25, 50, 75, 90, 95, 99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_unreadable(percent, progressive, scene, encoded):
    data = encoded(scene(100, 120), "JPEG", progressive=progressive)
    cut = data[: len(data) * percent // 100]
    with pytest.raises(Unreadable, match=r"truncated|broken|not JPEG"):
        decode(cut)
    with pytest.raises(Unreadable):  # an end pasted on does not make it whole
        decode(cut + b"\xff\xd9")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("percent", [5, 30, 60, 95])
def test_other_truncated_formats_are_unreadable(kind, percent, scene, encoded):
    data = encoded(scene(60, 80), kind)
    with pytest.raises(Unreadable):
        decode(data[: len(data) * percent // 100])


@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_bytes_are_decoded_or_unreadable_and_nothing_else(kind, scene, encoded):
    original = encoded(scene(24, 32), kind)
    draw = np.random.default_rng(0)
    outcomes = {"decoded": 0, "unreadable": 0}
    for _ in range(120):
        data = bytearray(original)
        for _ in range(draw.integers(1, 6)):
            at = draw.integers(2, len(data))
            if draw.random() < 0.2:
                del data[at : at + draw.integers(1, 40)]
            else:
                data[at - 1] = draw.integers(0, 256)
        try:
            found = decode(bytes(data), pixel_cap=1_000_000)
            assert found.dtype == np.uint8
            assert found.ndim == 3
            outcomes["decoded"] += 1
        except Unreadable as error:
            assert "\n" not in error.reason
            outcomes["unreadable"] += 1
    assert outcomes["unreadable"] > 0


@pytest.mark.parametrize("size", [(64, 64), (129, 71), (300, 400)])
@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_shrinking_while_decoding_is_pillows_and_leaves_enough(
    size, factor, orientation, scene, encoded
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(*size), "JPEG", exif=exif)
    upright_size = size if orientation == 1 else size[::-1]
    least = tuple(-(-side // factor) for side in upright_size)
    found = decode(data, min_size=least)
    assert found.shape[:2] == least == read_header(data).shrunk(least)[1]
    image = Image.open(io.BytesIO(data))
    image.draft(None, (size[1] // factor, size[0] // factor))
    expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert _levels(found, expected).max() <= 2
    one_more = (least[0] + 1, least[1])
    assert decode(data, min_size=one_more).shape[0] >= one_more[0]


def test_only_jpegs_shrink_and_never_beyond_an_eighth(scene, encoded):
    assert decode(encoded(scene(64, 64), "PNG"), min_size=(8, 8)).shape == (64, 64, 3)
    assert decode(encoded(scene(64, 64), "JPEG"), min_size=(1, 1)).shape == (8, 8, 3)
    cmyk = encoded(Image.new("CMYK", (64, 64)), "JPEG")
    assert decode(cmyk, min_size=(8, 8)).shape == (64, 64, 3)


def test_a_shrunk_image_keeps_its_mean(scene, encoded):
    data = encoded(scene(256, 256), "JPEG", quality=95)
    assert abs(decode(data).mean() - decode(data, min_size=(32, 32)).mean()) < 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read memory from")
def test_broken_bytes_leak_no_memory(scene, encoded):
    broken = [encoded(scene(300, 300), kind) for kind in FORMATS]
    broken = [data[: len(data) * 2 // 3] + data[-2:] for data in broken]

    def decode_all():
        for data in broken:
            try:
                decode(data)
            except Unreadable:
                pass
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(10):
        before = decode_all()
    for _ in range(100):
        after = decode_all()
    assert after - before < 5_000_000


def test_an_odd_but_whole_jpeg_is_decoded_at_either_scale(scene, encoded):
    data = encoded(scene(64, 64), "JPEG", progressive=True)
    second = data.index(b"\xff\xc4", data.index(b"\xff\xda"))
    odd = data[:second] + b"\x12\x34\x56" + data[second:]  # between two scans
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(odd)
    assert np.array_equal(decode(odd), decode(data))
    assert np.array_equal(decode(odd, min_size=(16, 16)), decode(data, min_size=(16, 16)))
    assert decode(odd, min_size=(16, 16)).shape == (16, 16, 3)
