"""What other libraries say is kept from the screen and told by file."""

import struct
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

from attack.bases import texture
from polyak.data.images import Images
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.decoding import decode
from polyak.decoding.notes import note, noting, quiet
from samples import encoded

PIXELS = texture(np.random.default_rng(0), 60, 70)


def odd_tiff() -> bytes:
    """A TIFF of which Pillow warns: a resolution with two values."""
    data = bytearray(encoded(PIXELS, "TIFF", dpi=(72, 72)))
    (at,) = struct.unpack_from("<I", data, 4)
    for i in range(struct.unpack_from("<H", data, at)[0]):
        entry = at + 2 + 12 * i
        if struct.unpack_from("<H", data, entry)[0] == 282:
            struct.pack_into("<I", data, entry + 4, 2)
    return bytes(data)


def broken_tiff() -> bytes:
    """A TIFF of which libtiff complains, on the screen where it may."""
    data = bytearray(encoded(PIXELS, "TIFF", compression="tiff_lzw"))
    data[300:600] = bytes(b ^ 0x5A for b in data[300:600])
    return bytes(data)


@pytest.fixture
def folder(tmp_path):
    for name, data in {
        "cat/1.jpg": encoded(PIXELS, "JPEG"),
        "cat/2.tif": odd_tiff(),
        "dog/1.tif": odd_tiff(),
        "dog/2.png": encoded(PIXELS, "PNG"),
        "dog/3.tif": broken_tiff(),
    }.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data)
    return tmp_path / "data"


def test_warnings_are_counted_by_file_and_not_on_the_screen(folder, capfd):
    data = scan(find(str(folder)))
    told = [line for line in data.warnings if "Metadata" in line]
    assert len(told) == 1 and told[0].startswith("2 files (cat/2.tif, dog/1.tif): Metadata Warning")
    images = Images.open(data)
    failed = dict(images.failed)
    assert [data.paths[i] for i in failed] == ["dog/3.tif"]
    assert "TIFF: Using code not yet in table" in next(iter(failed.values()))
    assert capfd.readouterr() == ("", "")


def test_a_command_says_it_in_its_own_words(folder, tmp_path):
    command = [sys.executable, "-m", "polyak", "doctor", str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert said.returncode == 0 and said.stderr == ""
    assert "2 files (cat/2.tif, dog/1.tif): Metadata Warning" in said.stdout


def test_libtiff_is_quiet_in_a_program_of_its_own(tmp_path):
    (tmp_path / "broken.tif").write_bytes(broken_tiff())
    code = """
import sys
from polyak.decoding import Unreadable, decode
try:
    decode(open(sys.argv[1], "rb").read())
except Unreadable as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "broken.tif")]
    said = subprocess.run(command, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == ("broken TIFF: Using code not yet in table\n", "")


def test_each_thread_hears_of_its_own_file():
    heard, ready = {}, threading.Barrier(2)

    def listen(name):
        with noting() as notes:
            note(f"{name} one")
            ready.wait()
            note(f"{name} two")
        heard[name] = notes

    threads = [threading.Thread(target=listen, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {"a": ["a one", "a two"], "b": ["b one", "b two"]}


def test_trying_changed_bytes_is_not_told():
    """Fill is looked for by decoding changed files, of which decoders complain."""
    pixels = PIXELS.copy()
    pixels[30:] = 255
    for how in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd"):
        with quiet(), noting() as notes:
            decode(encoded(pixels, "TIFF", compression=how))
        assert notes == []


def test_warnings_of_others_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda text, *_, **__: shown.append(str(text)))
    with warnings.catch_warnings(), quiet(), noting() as notes:
        warnings.simplefilter("always")
        warnings.warn("mine", UserWarning, stacklevel=1)
    assert notes == [] and shown == ["mine"]
