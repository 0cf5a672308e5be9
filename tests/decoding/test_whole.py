"""What is whole is taken, and what is not is refused: cut, zeroed and overwritten files."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from attack import bases, jpegs, mutate
from attack.bases import Base, png_chunk, png_of, texture
from attack.images import expected
from polyak.decoding import Unreadable, decode
from polyak.decoding.header import read_header
from polyak.decoding.jpeg import parse
from polyak.decoding.jpeg_clean import cleaned
from samples import FORMATS, encoded, scene

PERCENT = (20, 45, 70, 85, 93, 97)
PIXELS = texture(np.random.default_rng(3), 88, 104)
INKS = Image.frombytes("CMYK", (104, 88), np.dstack([PIXELS, PIXELS[:, ::-1, 0]]).tobytes())
JPEGS = {
    "baseline": encoded(PIXELS, "JPEG", quality=80),
    "4:4:4": encoded(PIXELS, "JPEG", subsampling=0),
    "poor": encoded(PIXELS, "JPEG", quality=8),
    "optimized": encoded(PIXELS, "JPEG", optimize=True),
    "progressive": encoded(PIXELS, "JPEG", progressive=True),
    "grey": encoded(PIXELS[:, :, 0], "JPEG", optimize=True),
    "grey progressive": encoded(PIXELS[:, :, 0], "JPEG", progressive=True),
    "restarts": encoded(PIXELS, "JPEG", restart_marker_blocks=3),
    "CMYK": encoded(INKS, "JPEG"),
    "CMYK progressive": encoded(INKS, "JPEG", progressive=True, subsampling="4:2:0"),
    "YCCK": jpegs.as_ycck(encoded(INKS, "JPEG")),
    "odd version": encoded(PIXELS, "JPEG").replace(b"JFIF\0\1", b"JFIF\0\7"),
    "lossless": jpegs.lossless(PIXELS[:40, :40]),
}
OTHERS = {
    "GIF": encoded(Image.fromarray(PIXELS).quantize(64), "GIF"),
    "GIF interlaced": encoded(Image.fromarray(PIXELS).quantize(64), "GIF", interlace=1),
    "PNG": encoded(PIXELS, "PNG"),
    "PNG uncompressed": encoded(PIXELS, "PNG", compress_level=0),
    "WEBP": encoded(PIXELS, "WEBP", quality=70),
    "WEBP poor": encoded(PIXELS, "WEBP", quality=5),
    "WEBP lossless": encoded(PIXELS, "WEBP", lossless=True),
    **{
        f"TIFF {how}": encoded(PIXELS, "TIFF", compression=how)
        for how in ("packbits", "tiff_lzw", "tiff_adobe_deflate", "lzma", "zstd", "jpeg")
    },
    **{
        f"TIFF {how}": encoded(Image.fromarray(PIXELS).convert("1"), "TIFF", compression=how)
        for how in ("group3", "group4", "tiff_ccitt")
    },
}


def damaged(name: str, data: bytes, how: str, percent: int) -> bytes:
    """Cut a file and close it, or overwrite it, from some percent of its compressed data on."""
    base = Base(name.split()[0] if name in OTHERS else "JPEG", name, data)
    start = data.index(b"\xff\xda") if name in JPEGS else 200
    at = start + (len(data) - start) * percent // 100
    end = mutate.ENDS.get(base.format, b"")
    if how == "cut":
        return mutate.mended_riff(data[:at]) if base.format == "WEBP" else data[:at] + end
    value = {"zeros": 0, "spaces": 0x20}[how]
    return data[:at] + bytes([value]) * (len(data) - at - len(end)) + data[len(data) - len(end) :]


@pytest.mark.parametrize("how", ["cut", "zeros", "spaces"])
@pytest.mark.parametrize("name", [*JPEGS, *OTHERS])
def test_a_file_whose_data_end_early_or_were_overwritten_is_refused(name, how):
    data = {**JPEGS, **OTHERS}[name]
    assert decode(data).shape[2] == 3
    for percent in PERCENT:
        with pytest.raises(Unreadable):
            decode(damaged(name, data, how, percent))
            pytest.fail(f"{name}, {how} from {percent} % on")


@pytest.mark.parametrize("name", ["baseline", "progressive", "restarts", "CMYK"])
def test_a_harmless_complaint_hides_no_other(name):
    """libjpeg tells its first one alone: an odd version, or bytes between segments."""
    data = JPEGS[name]
    at = jpegs.frame(data)
    odd = data[:at] + b"\x12\x34\x56" + data[at:]
    assert np.array_equal(decode(odd), decode(data))
    for percent in PERCENT:
        with pytest.raises(Unreadable):
            decode(damaged("baseline", odd, "zeros", percent))


@pytest.mark.parametrize("oddity", jpegs.ODDITIES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", JPEGS)
def test_an_oddity_changes_no_pixel(name, oddity):
    same = JPEGS[name]
    if "CMYK" in name and oddity is jpegs._unknown_adobe:
        same = jpegs.as_ycck(same)  # what libjpeg takes inks of an unknown kind for
    for seed in range(4):
        odd = oddity(JPEGS[name], np.random.default_rng(seed))
        assert np.array_equal(decode(odd), decode(same))
        if name not in ("lossless", "grey") and "CMYK" not in name and name != "YCCK":
            assert decode(odd, min_size=(20, 20)).shape == (22, 26, 3)


@pytest.mark.parametrize("name", ["progressive", "grey progressive", "CMYK progressive"])
def test_scans_that_are_missing_are_missed(name):
    """Each scan is whole, but those that make the image sharp are not there."""
    data = JPEGS[name]
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    tables = data.rfind(b"\xff\xc4", starts[-2], starts[-1])
    for cut in (starts[1], tables if tables > 0 else starts[-1]):
        with pytest.raises(Unreadable, match="scans are missing"):
            decode(data[:cut] + b"\xff\xd9")


def planes(count: int) -> bytes:
    """A baseline JPEG of three equal planes, each in a scan of its own, of which some are there."""
    grey = encoded(PIXELS[:, :, 0], "JPEG")
    at, scan = jpegs.frame(grey), grey.index(b"\xff\xda")
    frame = grey[at : at + 2] + b"\0\x11" + grey[at + 4 : at + 9] + b"\3"
    frame += b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3))
    tables, body = grey[at + 13 : scan], grey[scan + 10 : -2]
    scans = [b"\xff\xda\0\x08\1" + bytes([i]) + b"\0\0\x3f\0" + body for i in (1, 2, 3)]
    return grey[:at] + frame + tables + b"".join(scans[:count]) + b"\xff\xd9"


def test_a_plane_that_is_missing_is_missed():
    found = decode(planes(3))
    assert np.abs(found.astype(int) - expected(planes(3))).max() <= 2 and np.ptp(found) > 100
    for count in (1, 2):
        with pytest.raises(Unreadable, match="scans are missing"):
            decode(planes(count))


@pytest.mark.parametrize("name", [name for name in JPEGS if name != "lossless"])
def test_every_code_is_counted(name):
    """What is written anew has the same compressed data, to the byte."""
    data = JPEGS[name]
    again = cleaned(data)
    start, anew = data.index(b"\xff\xda"), again.index(b"\xff\xda")
    assert again[anew:] == data[start:]
    assert len(again) <= len(data)


def test_overwritten_tables_are_refused():
    whole = JPEGS["baseline"]
    for segment in parse(whole).segments:
        start = {0xDB: segment.start + 2, 0xC4: segment.start + 20}.get(segment.marker)
        if start:
            data = whole[:start] + bytes(segment.stop - start) + whole[segment.stop :]
            with pytest.raises(Unreadable):
                pytest.fail(f"{segment}: {decode(data).shape}")


# PNG


def test_a_png_is_checked_by_its_sums_and_by_its_length():
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    head = struct.pack(">IIBBBBB", 104, 88, 8, 2, 0, 0, 0)
    assert np.array_equal(decode(png_of(head, zlib.compress(rows))), PIXELS)
    with pytest.raises(Unreadable, match="end early"):  # a shorter stream that is whole in itself
        decode(png_of(head, zlib.compress(rows[: len(rows) // 2 // 313 * 313])))
    reasons = set()
    for level in (0, 6):
        whole = png_of(head, zlib.compress(rows, level))
        for at in (len(whole) // 2, *range(len(whole) - 40, len(whole) - 16)):
            data = bytearray(whole)
            data[at] ^= 1  # the sum no longer fits
            with pytest.raises(Unreadable, match=r"damaged|broken data stream") as error:
                decode(bytes(data))
            reasons.add(error.value.reason.split()[0])
    assert reasons == {"broken", "truncated"}  # as Pillow finds, and as it does not


def test_a_wrong_sum_of_a_png_that_is_whole_does_not_matter():
    data = bytearray(encoded(PIXELS, "PNG"))
    end = data.index(b"IEND") - 4
    data[end - 1] ^= 1
    assert np.array_equal(decode(bytes(data)), PIXELS)


@pytest.mark.parametrize("black", [0, 40])
def test_a_png_that_ends_in_black_is_whole(black):
    pixels = PIXELS.copy()
    pixels[black:] = 0
    assert np.array_equal(decode(encoded(pixels, "PNG")), pixels)


def test_a_first_frame_smaller_than_its_png_is_refused():
    frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
    data = bytearray(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    struct.pack_into(">I", data, 16, 300)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(Unreadable, match="not for all of its pixels"):
        decode(bytes(data))


# BMP


def _run_lengths(width: int, height: int, body: bytes) -> bytes:
    colours = bytes(range(256)) * 4
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return (
        struct.pack("<2sIHHI", b"BM", 54 + 1024 + len(body), 0, 0, 54 + 1024)
        + head
        + colours
        + body
    )


def test_run_lengths_tell_every_pixel():
    rows = [b"\3\1\1\2\0\0", b"\0\4\1\2\3\4\0\0", b"\4\7\0\0"]
    assert decode(_run_lengths(4, 3, b"".join(rows) + b"\0\1")).shape == (3, 4, 3)
    for lost in (b"\0\1", rows[0] + b"\0\1", b"\3\1\0\0" + b"".join(rows[1:]) + b"\0\1"):
        with pytest.raises(Unreadable, match="pixels are missing"):
            decode(_run_lengths(4, 3, lost))
    with pytest.raises(Unreadable, match="pixels are missing"):
        decode(_run_lengths(4, 3, rows[0] + b"\0\2\0\1" + rows[2] + b"\0\1"))


# nothing that is whole is refused


def saved(kind: str):
    """Every mode and option of a format in which Pillow can save an image."""
    grey = Image.fromarray(PIXELS[:, :, 0])
    deep = Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257)
    for mode in (
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBX",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
        "I;16",
    ):
        try:
            image = deep if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
        except ValueError:
            image = grey.convert(mode)
        for options in OPTIONS.get(kind, [{}]):
            try:
                yield mode, options, encoded(image, kind, **options)
            except (OSError, ValueError, TypeError, KeyError):
                continue


OPTIONS = {
    "JPEG": [
        {"progressive": progressive, "quality": quality, "subsampling": sampling, **more}
        for progressive in (False, True)
        for quality in (3, 95)
        for sampling in (0, 1, 2, "4:1:1")
        for more in ({}, {"optimize": True}, {"restart_marker_rows": 1})
    ],
    "PNG": [{}, {"compress_level": 0}, {"bits": 4}, {"optimize": True}],
    "GIF": [{}, {"interlace": 1}, {"optimize": True}],
    "WEBP": [{}, {"lossless": True}, {"quality": 1}, {"method": 6, "quality": 100}],
    "TIFF": [
        {"compression": how, **more}
        for how in bases.TIFFS
        for more in ({}, {"strip_size": 1000}, {"big_tiff": True})
    ],
}
LEAST = {"JPEG": 96, "PNG": 20, "GIF": 10, "WEBP": 20, "BMP": 4, "TIFF": 100}


@pytest.mark.parametrize("kind", FORMATS)
def test_all_that_pillow_saves_is_taken_and_is_what_pillow_reads(kind):
    count = 0
    for mode, options, data in saved(kind):
        found = decode(data).astype(int)
        assert np.abs(found - expected(data)).max() <= 2, (mode, options)
        count += 1
    assert count >= LEAST[kind]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", FORMATS)
def test_images_with_flat_parts_are_whole(kind, seed):
    draw = np.random.default_rng(seed)
    height, width = (int(side) for side in draw.integers(8, 120, 2))
    for part in (np.s_[:], np.s_[height // 2 :], np.s_[-height // 8 :], np.s_[:, width // 2 :]):
        for colour in (0, 255, draw.integers(0, 256, 3)):
            pixels = texture(draw, height, width)
            pixels[part] = colour
            for options in ({}, *OPTIONS.get(kind, [])[1::5]):
                if kind != "TIFF" or options.get("compression", "") not in bases.FAXES:
                    data = encoded(pixels, kind, **options)
                    assert np.abs(decode(data).astype(int) - expected(data)).max() <= 2


def test_what_a_program_puts_up_with_is_not_put_up_with(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for kind in FORMATS:
        data = encoded(PIXELS, kind)
        assert decode(data).shape == (88, 104, 3)
        with pytest.raises(Unreadable):
            decode(data[: len(data) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_gif_whose_frame_is_larger_than_it_says_has_one_size():
    data = bytearray(encoded(Image.fromarray(PIXELS).quantize(8), "GIF"))
    struct.pack_into("<HH", data, 6, 20, 10)
    assert read_header(bytes(data)).size == decode(bytes(data)).shape[:2] == (88, 104)


def test_between_blocks_of_a_gif_there_may_be_other_bytes():
    """Pillow passes over them; so must whoever tells its size, and finds its data."""
    whole = encoded(Image.fromarray(PIXELS).quantize(8), "GIF")
    at = 13 + (3 << (whole[10] & 7) + 1)
    assert whole[at : at + 1] == b","
    odd = bytearray(whole[:at] + b"\0junk\0" + whole[at:])
    struct.pack_into("<HH", odd, 6, 20, 10)
    assert read_header(bytes(odd)).size == decode(bytes(odd)).shape[:2] == (88, 104)
    middle = len(odd) // 2
    with pytest.raises(Unreadable):
        decode(bytes(odd[:middle]) + bytes(len(odd) - middle - 1) + b";")


@pytest.mark.parametrize("interlace", [0, 1])
def test_a_gif_block_of_no_length_ends_its_data(interlace):
    """The first one too, of which Pillow makes an image of one colour."""
    whole = encoded(Image.fromarray(PIXELS).quantize(8), "GIF", interlace=interlace)
    with Image.open(io.BytesIO(whole)) as opened:
        at = opened.tile[0].offset
    while whole[at]:
        with pytest.raises(Unreadable):
            pytest.fail(f"{at}: {decode(whole[:at] + bytes(1) + whole[at + 1 :]).shape}")
        at += 1 + whole[at]


def test_chunks_of_a_png_that_are_not_pixels_may_stand_anywhere():
    data = encoded(PIXELS, "PNG")
    at = data.index(b"IDAT") - 4
    with io.BytesIO() as file:
        file.write(data[:at] + png_chunk(b"tEXt", b"who\0me") + data[at:] + b"behind the end")
        assert np.array_equal(decode(file.getvalue()), PIXELS)
    assert np.array_equal(decode(encoded(scene(4, 4), "PNG")), scene(4, 4))
