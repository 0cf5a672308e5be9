import importlib
import threading
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from polyak.decoding import turns
from polyak.decoding.decode import decode
from polyak.decoding.header import read_header
from polyak.decoding.turns import Turns


def at_once(gate, weights):
    """Let a thread take each weight's turn; give the most that was taken at one time."""
    seen, lock, inside = [], threading.Lock(), []

    def work(weight):
        with gate.of(weight):
            with lock:
                inside.append(weight)
                seen.append(sum(inside))
            threading.Event().wait(0.02)
            with lock:
                inside.remove(weight)

    threads = [threading.Thread(target=work, args=(weight,)) for weight in weights]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == len(weights)
    return max(seen)


def test_no_more_is_decoded_at_once_than_there_is_room_for():
    assert at_once(Turns(100), [60] * 5) == 60
    assert at_once(Turns(100), [50] * 5) == 100
    assert at_once(Turns(100), [40, 400, 40, 400]) == 400  # too large for all of it: alone


def test_a_turn_ends_with_an_exception_too():
    gate = Turns(100)
    with pytest.raises(ValueError, match="mine"), gate.of(100):
        raise ValueError("mine")
    assert gate.taken == 0
    with gate.of(100), gate.of(100):  # what a turn is held for may take one itself
        assert gate.taken == 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_large_images_are_decoded_within_a_turn(kind, encoded, monkeypatch):
    decoding = importlib.import_module("polyak.decoding.decode")  # the package calls a function so
    gate, taken = Turns(10**9), []
    monkeypatch.setattr(turns, "_turns", lambda: gate)
    for name in ("rgb", "jpeg_pixels"):
        inner = getattr(decoding, name)
        monkeypatch.setattr(
            decoding, name, lambda *how, inner=inner: taken.append(gate.taken) or inner(*how)
        )
    decode(encoded(np.full((1001, 1000, 3), 9, np.uint8), kind))
    assert taken[0] == 1_001_000 and gate.taken == 0
    decode(encoded(np.full((1000, 1000, 3), 9, np.uint8), kind))  # a small one waits for nobody
    assert taken[-1] == 0


def test_a_progressive_jpeg_weighs_what_waits_half_done(scene, encoded):
    pixels = scene(1600, 1600)
    plain, waiting = (
        read_header(encoded(pixels, "JPEG", progressive=progressive)).weight((100, 100))
        for progressive in (False, True)
    )
    assert (plain, waiting) == (200 * 200, 1600 * 1600 // 2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_decoding_makes_no_copy_of_a_large_image(kind, encoded):
    data = encoded(np.full((2000, 3000, 3), 77, np.uint8), kind)
    tracemalloc.start()
    pixels = decode(data)
    most = tracemalloc.get_traced_memory()[1]  # without Pillow's own image, 4 bytes a pixel
    tracemalloc.stop()
    assert (pixels == 77).all()
    assert most < 1.7 * pixels.nbytes  # and BMP and TIFF are read from a copy of the file


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
def test_parts_of_an_image_become_what_the_whole_does(mode, scene, monkeypatch):
    from polyak.decoding import pillow

    pixels = scene(37, 41)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    else:
        image = Image.fromarray(pixels)
        image = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
    if mode in ("1", "L", "P", "I;16"):
        image.info["transparency"] = 0
    whole = pillow.rgb(image)
    monkeypatch.setattr(pillow, "_STRIP", 41 * 5)
    assert len(list(pillow.strips(image))) == 8
    assert (pillow.rgb(image) == whole).all()
