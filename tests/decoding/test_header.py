import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from polyak.decoding.header import read_header
from polyak.decoding.sniff import sniff
from polyak.decoding.unreadable import Unreadable


def _chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width, height, *extra):
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    data = _chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + data + _chunk(b"IEND", b"")


def _tiff(width, height):
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, width * height % 2**32)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4)


BOMBS = {
    "png": _png(30_000, 30_000),
    "png, lying": _png(2**31 - 1, 2**31 - 1),
    "gif": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(20),
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 60_000, -60_000) + bytes(40),
    "tiff": _tiff(100_000, 100_000),
    "jpeg": b"\xff\xd8\xff\xc0"
    + struct.pack(">HBHHB", 17, 8, 65_500, 65_500, 3)
    + bytes(9)
    + b"\xff\xda\0\x02\xff\xd9",
    "webp, lossy": b"RIFF"
    + struct.pack("<I", 20)
    + b"WEBPVP8 "
    + bytes(7)
    + b"\x9d\x01\x2a"
    + struct.pack("<HH", 16_383, 16_383)
    + bytes(10),
    "webp, lossless": b"RIFF"
    + struct.pack("<I", 20)
    + b"WEBPVP8L"
    + bytes(4)
    + b"\x2f"
    + struct.pack("<I", 16_382 | 16_382 << 14)
    + bytes(10),
    "webp, extended": b"RIFF"
    + struct.pack("<I", 20)
    + b"WEBPVP8X"
    + bytes(8)
    + b"\xff\xff\xff" * 2
    + bytes(10),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_from_the_header_fast_and_with_little_memory(name):
    tracemalloc.start()
    begin = time.perf_counter()
    with pytest.raises(Unreadable, match="more than the cap"):
        read_header(BOMBS[name])
    assert time.perf_counter() - begin < 0.2
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_text_that_inflates_to_a_gigabyte_is_refused():
    bomb = zlib.compress(bytes(50_000_000))
    data = _png(10, 10, *[_chunk(b"zTXt", b"comment\0\0" + bomb)] * 20)
    with pytest.raises(Unreadable, match="broken PNG"):
        read_header(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"\xff", "not JPEG"),
        (b"just words\n", "text, not an image"),
        (b'{"a": 1}', "text, not an image"),
        (b"<!doctype html><p>404", "a web page"),
        (b"\n <svg xmlns=''/>", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%PDF-1.7", "a PDF"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (bytes(4096), "zero bytes"),
        (b"\xff\xd8\xff", "truncated JPEG"),
        (b"\x89PNG\r\n\x1a\n", "truncated PNG"),
        (b"GIF89a", "truncated GIF"),
        (b"BM", "truncated BMP"),
        (b"RIFF\xff\0\0\0WEBP", "truncated WebP"),
        (b"II*\0", "TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC: convert it to JPEG or PNG .heif-convert"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix", "HEIC: convert"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF: convert it to JPEG or PNG .avifdec"),
        (b"\0\0\0\x14ftypavis\0\0\0\0msf1", "AVIF: convert"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0msf1", "HEIF: convert"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "a video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL: convert it to JPEG or PNG .djxl"),
        (b"\xff\x0a\xfa\x3b", "JPEG XL: convert"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000: convert it to JPEG or PNG .opj_decompress"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000: convert"),
    ],
)
def test_what_is_no_image_says_what_it_is(data, reason):
    with pytest.raises(Unreadable, match=reason):
        read_header(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_the_content_decides_the_format_and_gives_the_size(kind, scene, encoded):
    data = encoded(scene(37, 51), kind)
    assert sniff(data) == kind
    assert read_header(data).size == (37, 51)


def test_the_cap_counts_pixels_exactly(scene, encoded):
    data = encoded(scene(10, 12), "PNG")
    assert read_header(data, pixel_cap=120).size == (10, 12)
    with pytest.raises(Unreadable, match="12x10 pixels, more than the cap of 119"):
        read_header(data, pixel_cap=119)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_the_upright_one(kind, orientation, scene, encoded):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(20, 30), kind, exif=exif)
    assert read_header(data).size == ((30, 20) if orientation > 4 else (20, 30))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0XX*\0\x08\0\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0" + bytes(4),
        b"not exif",
    ],
)
def test_broken_exif_is_ignored(exif, scene, encoded):
    assert read_header(encoded(scene(20, 30), "JPEG", exif=exif)).size == (20, 30)


def test_a_jpeg_may_carry_bytes_behind_its_end_but_must_have_one(scene, encoded):
    data = encoded(scene(20, 30), "JPEG")
    assert read_header(data + b"trailer" * 100).size == (20, 30)
    with pytest.raises(Unreadable, match="its end is missing"):
        read_header(data[:-2])


def test_twelve_bits_are_named():
    data = bytearray(_jpeg(8))
    at = data.index(b"\xff\xc0")
    data[at + 4] = 12
    with pytest.raises(Unreadable, match="12-bit JPEG"):
        read_header(bytes(data))


def _jpeg(side):
    with io.BytesIO() as file:
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(file, "JPEG")
        return file.getvalue()
