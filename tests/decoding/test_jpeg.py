"""Which JPEGs are decoded, which are refused, and that no decoder writes more than it was given."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attack import jpegs
from attack.images import expected
from polyak.decoding import Unreadable, decode
from polyak.decoding.header import read_header
from polyak.decoding.jpeg import parse, read_jpeg
from samples import encoded, scene

GUARD = Path("/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")
SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def child(code: str, tmp_path: Path, data: bytes, **environment) -> int:
    """Run code on a file in a process of its own: the exit code, negative for a signal."""
    (tmp_path / "image.jpg").write_bytes(data)
    code = f"data = open({str(tmp_path / 'image.jpg')!r}, 'rb').read()\n" + code
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True
    ).returncode


DECODE = "from polyak.decoding import decode; decode(data, min_size=(8, 8))"
SCALED = (
    "import simplejpeg; simplejpeg.decode_jpeg(data, min_height=75, min_width=75, min_factor=8)"
)


@pytest.mark.parametrize("shape", [(600, 600), (600, 600, 3)])
def test_a_lossless_jpeg_is_decoded_whole_whatever_is_asked(shape, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = jpegs.lossless(pixels)
    assert child(SCALED, tmp_path, data) != 0  # what libjpeg-turbo does when it is asked to shrink
    assert child(DECODE, tmp_path, data) == 0
    assert not read_header(data).plain
    found = decode(data, min_size=(8, 8))
    assert np.array_equal(found, np.broadcast_to(pixels.reshape(600, 600, -1), (600, 600, 3)))


@pytest.mark.skipif(not GUARD.exists(), reason="glibc's checks of its heap are not installed")
@pytest.mark.parametrize("side", [9, 64, 127])
def test_the_heap_is_whole_behind_every_frame(side, tmp_path):
    checks = {"LD_PRELOAD": str(GUARD), "MALLOC_CHECK_": "3"}
    pixels = scene(side, side)
    lossless = jpegs.lossless(pixels)
    small = "import simplejpeg; simplejpeg.decode_jpeg(data, min_height=1, min_width=1)"
    assert child(small, tmp_path, lossless, **checks) != 0  # so a fault is seen
    code = """
from polyak.decoding import Unreadable, decode
for kind in range(192, 208):
    one = data.replace(bytes([255, 0xC3]), bytes([255, kind]))
    for least in (None, (1, 1), (4, 4), (30, 30)):
        try:
            decode(one, min_size=least)
        except Unreadable:
            pass
"""
    assert child(code, tmp_path, lossless, **checks) == 0
    baseline = encoded(pixels, "JPEG").replace(b"\xff\xc0", b"\xff\xc3")
    assert child(code, tmp_path, baseline, **checks) == 0


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        *((kind, "arithmetic-coded JPEG") for kind in (0xC9, 0xCA, 0xCB)),
        *((kind, "hierarchical JPEG") for kind in (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)),
        (0xC8, "marker c8"),
    ],
)
def test_frames_that_nobody_can_check_are_named(frame, reason):
    data = encoded(scene(40, 50), "JPEG")
    at = jpegs.frame(data)
    with pytest.raises(Unreadable, match=reason):
        read_header(data[: at + 1] + bytes([frame]) + data[at + 2 :])


def test_extended_frames_are_baseline_ones_to_the_decoder():
    data = encoded(scene(40, 50), "JPEG")
    at = jpegs.frame(data)
    assert np.array_equal(decode(data[: at + 1] + b"\xc1" + data[at + 2 :]), decode(data))


def split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Part a JPEG: what stands before the frame, the frame, and what stands behind it."""
    at = jpegs.frame(data)
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at], data[at:end], data[end:]


def resized(frame: bytes, height: int, width: int) -> bytes:
    return frame[:5] + struct.pack(">HH", height, width) + frame[9:]


@pytest.mark.parametrize("small", [8, 16])
def test_what_parsers_could_understand_differently_is_refused(small):
    before, frame, behind = split(encoded(scene(64, 64), "JPEG"))
    other = resized(frame, small, small)
    files = {
        "two frames": before + frame + other + behind,
        "the other first": before + other + frame + behind,
        "a frame behind the scan": before + frame + behind[:-2] + other + EOI,
        "an image in the image": before + SOI + frame + behind,
        "an end before the scan": before + EOI + frame + behind,
        "tables alone, then an image": before + EOI + SOI + frame + behind,
        "no length": before + b"\xff\xe5\0\0" + frame + behind,
        "a length of one": before + b"\xff\xfe\0\1" + frame + behind,
        "a frame inside conditions of arithmetic codes": before
        + b"\xff\xcc\0\x13"
        + other
        + frame
        + behind,
        "height told later": before
        + resized(frame, 0, 64)
        + behind[:-2]
        + b"\xff\xdc\0\4\0\x40"
        + EOI,
        "expanded": before + frame + b"\xff\xdf\0\3\x11" + behind,
    }
    for name, data in files.items():
        with pytest.raises(Unreadable):
            pytest.fail(f"{name}: {decode(data).shape}")


def test_a_frame_in_a_comment_or_a_thumbnail_is_none():
    thumbnail = encoded(scene(8, 8), "JPEG")
    before, frame, behind = split(encoded(scene(64, 48), "JPEG"))
    whole = decode(before + frame + behind)
    for marker in (b"\xff\xfe", b"\xff\xe1", b"\xff\xec"):
        hidden = marker + struct.pack(">H", len(thumbnail) + 2) + thumbnail
        data = before + hidden + frame + behind
        assert read_header(data).size == (64, 48)
        assert np.array_equal(decode(data), whole)


@pytest.mark.parametrize("fill", [1, 3, 1000])
@pytest.mark.parametrize("progressive", [False, True])
def test_markers_may_be_filled(fill, progressive):
    data = encoded(scene(40, 30), "JPEG", progressive=progressive)
    before, frame, behind = split(data)
    filled = before + b"\xff" * fill + frame + behind[:-2] + b"\xff" * fill + EOI
    assert read_header(filled).size == (40, 30)
    assert np.array_equal(decode(filled), decode(data))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_the_quick_look_and_the_whole_one_agree(options):
    for image in (scene(40, 30), scene(40, 30)[:, :, 0], Image.new("CMYK", (9, 7))):
        data = encoded(image, "JPEG", **options)
        for file in (data, data + b"behind", data + data):
            quick, whole = read_jpeg(file), parse(file).jpeg
            assert quick == whole


def test_a_million_markers_take_no_time():
    flood = b"\xff\xd0" * 1_000_000
    with pytest.raises(Unreadable, match="too many segments"):
        read_header(SOI + flood)
    with pytest.raises(Unreadable, match="too many segments"):
        read_header(SOI + b"\xff\xfe\0\2" * 500_000)


def test_more_scans_than_any_image_has_are_refused():
    before, frame, behind = split(encoded(scene(16, 16)[:, :, 0], "JPEG", progressive=True))
    at = behind.index(b"\xff\xda")
    scan = behind[at : at + 12]
    with pytest.raises(Unreadable, match="too many segments"):
        read_header(before + frame + behind[:at] + scan * 101 + behind[at:])


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("progressive", [False, True])
def test_inks_of_any_sampling_are_pillows(sampling, progressive):
    inks = np.dstack([scene(45, 61), scene(45, 61, 1)[:, :, 0]])
    image = Image.frombytes("CMYK", (61, 45), inks.tobytes())
    data = encoded(image, "JPEG", subsampling=sampling, progressive=progressive)
    for file in (data, jpegs.as_ycck(data)):
        assert np.array_equal(decode(file), expected(file))


def test_zeros_behind_data_that_end_in_zeros_are_a_fill():
    """A last byte that is full needs no ones, and a code may be zeros."""
    seen = 0
    for seed in range(300):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 9), dtype=np.uint8)
        pixels[-1, -4:] = pixels[-1, -4]
        data = jpegs.lossless(pixels)
        if data[-5] and data[-4:-2] == bytes(2):
            seen += 1
            assert np.array_equal(decode(data[:-2] + bytes(40) + EOI)[:, :, 0], pixels)
    assert seen > 3


def test_a_jpeg_of_two_planes_is_one_in_a_tiff_alone():
    image = Image.fromarray(np.dstack([scene(45, 61)[:, :, 0], scene(45, 61, 1)[:, :, 0]]), "LA")
    data = encoded(image, "TIFF", compression="jpeg")
    assert np.abs(decode(data).astype(int) - expected(data)).max() <= 1
    start = data.index(SOI)
    with pytest.raises(Unreadable, match="two components"):
        read_header(data[start : data.index(EOI, start) + 2])
    scan = data.index(b"\xff\xda")
    cut = data[: scan + 300] + EOI + bytes(200) + data[scan + 502 :]
    with pytest.raises(Unreadable):
        decode(cut)
