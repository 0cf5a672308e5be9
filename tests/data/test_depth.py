import io

import numpy as np
import pytest
from PIL import Image

from polyak.data import Images, find, scan
from polyak.data.depth import Depth
from polyak.data.near_duplicates import near_duplicates
from polyak.decoding.decode import decode


def deep(top, side=40, seed=0, kind="PNG"):
    """A file of 16 bits, grey, whose levels reach `top`."""
    levels = np.random.default_rng(seed).integers(0, top, (side, side)).astype(np.uint16)
    levels[0, 0] = top
    with io.BytesIO() as file:
        Image.fromarray(levels).save(file, kind)
        return file.getvalue()


def of(tree, *tops, kind="PNG"):
    files = {
        f"{'ab'[i % 2]}/{i}.{kind.lower()}": deep(t, seed=i, kind=kind) for i, t in enumerate(tops)
    }
    return scan(find(tree(files)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_whole_set_says_how_many_bits_are_used(kind, tree):
    data = of(tree, 300, 4095, 22, kind=kind)
    assert data.bits == 12
    (line,) = [line for line in data.warnings if "16-bit" in line]
    assert "above 4,095" in line and "by 12 bits" in line
    images = Images.open(data)
    assert images[0].max() == 300 * 255 // 4095 + 1  # 18.7
    assert Images.open(data, budget=0)[2].max() == images[2].max() == 255
    assert images.take([2]).decoding.bits == data.take([2]).bits == 12


@pytest.mark.parametrize(
    ("tops", "bits"),
    [((255, 9), 8), ((1023, 3), 10), ((16383, 3), 14), ((65535, 3), 16), ((3, 16384), 16)],
)
def test_bits_are_those_of_cameras(tops, bits, tree):
    data = of(tree, *tops)
    assert data.bits == bits
    assert any("16-bit" in line for line in data.warnings) == (bits < 16)


def test_sets_of_other_images_are_not_decoded_and_read_as_ever(tree, monkeypatch):
    monkeypatch.setattr(Depth, "see", lambda *_: pytest.fail("decoded"))
    data = scan(find(tree({"a/1.jpg": (40, 40, 1), "b/2.jpg": (40, 40, 2)})))
    assert data.bits == 16


def test_what_a_model_judges_is_scaled_as_the_model_says(tree):
    root = tree({"a/1.png": deep(4095), "b/2.png": deep(60)})
    data = scan(find(root), classes=("a", "b"))
    assert data.bits == 16  # nobody looked
    twelve = Images.open(data, bits=12)
    assert twelve[0].max() == 255
    assert twelve.scaled_by(12) is twelve
    other = twelve.scaled_by(14)
    assert (other[0] == decode(deep(4095), bits=14)).all() and other[0].max() == 64


def test_levels_above_the_bits_are_white():
    assert decode(deep(4095), bits=10).max() == 255
    assert len(np.unique(decode(deep(1023), bits=10))) > 250


def test_twelve_bits_keep_their_levels(tree):
    levels = np.linspace(0, 4095, 23).round().astype(np.uint16)
    with io.BytesIO() as file:
        Image.fromarray(np.tile(levels, (23, 1))).save(file, "PNG")
        data = file.getvalue()
    assert len(np.unique(decode(data))) < 20
    assert len(np.unique(decode(data, bits=12))) == 23


def test_a_damaged_or_transparent_level_does_not_count(tree):
    marked = io.BytesIO()
    levels = np.full((8, 8), 100, np.uint16)
    levels[0] = 65535
    Image.fromarray(levels).save(marked, "PNG", transparency=65535)
    cut = deep(60000)[:-400] + deep(60000)[-12:]
    depth = Depth(10**6)
    for data in (cut, marked.getvalue(), deep(1000)):
        depth.see(data)
    assert depth.bits == 10


def test_images_that_look_the_same_are_found_at_the_scale_of_the_set(tree, monkeypatch):
    seen, data = [], of(tree, 4095, 4000)
    from polyak.data import near_duplicates as module

    inner = module._thumbnail
    monkeypatch.setattr(module, "_thumbnail", lambda p: seen.append(int(p.max())) or inner(p))
    near_duplicates(data)
    assert sorted(seen) == [249, 255]
