"""What a file is, by its first bytes."""

import codecs

from polyak.decoding.unreadable import Unreadable

_MAGIC = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
    ("BMP", b"BM"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("TIFF", b"II+\0"),
    ("TIFF", b"MM\0+"),
)
_OTHER = (
    (b"version https://git-lfs", "a Git LFS pointer, not the image: run git lfs pull"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "a Photoshop document"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000: convert it to JPEG or PNG (opj_decompress)"),
    (b"\xff\x4f\xff\x51", "JPEG 2000: convert it to JPEG or PNG (opj_decompress)"),
    (b"\xff\x0a", "JPEG XL: convert it to JPEG or PNG (djxl)"),
    (b"\0\0\0\x0cJXL ", "JPEG XL: convert it to JPEG or PNG (djxl)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"<?xml", "XML or SVG text"),
    (b"<svg", "SVG text"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)
_HEIC = (b"ic", b"ix", b"im", b"is", b"vc", b"vx")
_BRANDS = (  # of ISO media files: the first that a file calls itself compatible with
    (b"avif", "AVIF: convert it to JPEG or PNG (avifdec)"),
    (b"avis", "AVIF: convert it to JPEG or PNG (avifdec)"),
    (b"crx ", "a raw photograph (CR3): convert it to TIFF (darktable-cli)"),
    *((b"he" + end, "HEIC: convert it to JPEG or PNG (heif-convert)") for end in _HEIC),
    (b"mif1", "HEIF: convert it to JPEG or PNG (heif-convert)"),
    (b"msf1", "HEIF: convert it to JPEG or PNG (heif-convert)"),
)


def sniff(data: bytes) -> str:
    r"""Name the format of an image by its first bytes.

    Raises:
        Unreadable: none of JPEG, PNG, WEBP, BMP, GIF, TIFF; with what it is, where that is known.

    >>> sniff(b"\xff\xd8\xff\xe0")
    'JPEG'
    >>> sniff(b"\0\0\0\x18ftypavif\0\0\0\0")
    Traceback (most recent call last):
    ...
    polyak.decoding.unreadable.Unreadable: AVIF: convert it to JPEG or PNG (avifdec)
    """
    for name, magic in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise Unreadable(_what_else(data))


def _what_else(data: bytes) -> str:
    if not data:
        return "empty file"
    if data[4:8] == b"ftyp":
        return _media(data)
    start = data[:512].lstrip(b"\xef\xbb\xbf \r\n\t")
    for magic, what in _OTHER:
        if data.startswith(magic) or start[: len(magic)].lower() == magic.lower():
            return what
    if not any(data[:512]):
        return "nothing but zero bytes"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:512])
    except UnicodeDecodeError:
        text = "\0"
    if all(letter >= " " or letter in "\t\r\n\f" for letter in text):
        return "text, not an image"
    return "not JPEG, PNG, WebP, BMP, GIF or TIFF"


def _media(data: bytes) -> str:
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, length, 4))}
    for brand, what in _BRANDS:
        if brand in brands:
            return what
    return "a video"
