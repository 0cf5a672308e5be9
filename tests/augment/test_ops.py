"""Operations: colours against torchvision, tables against Pillow, chance by counting."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms.v2 import functional as v2

from polyak.augment import Policy, colour, geometry, render
from polyak.augment import kernels as row_of
from polyak.augment.chance import OPERATIONS

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
numbers = st.floats(-40, 40)


def drawn(text, image=IMAGE, index=0, **given):
    size = image.shape[:2]
    plan = Policy.parse(text).plan(0, 0, [index], [size], size, **(RAW | given))
    out = np.empty((*size, 3), np.float32)
    render(image, plan[0], out)
    return out


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7])
@pytest.mark.parametrize(
    ("name", "adjust"),
    [("brightness", v2.adjust_brightness), ("saturation", v2.adjust_saturation)],
)
def test_colours_are_torchvisions(name, adjust, factor):
    expected = adjust(torch.from_numpy(IMAGE).permute(2, 0, 1).float() / 255, factor)
    out = drawn(f"{name}(by={factor}..{factor})")
    np.testing.assert_allclose(out, expected.permute(1, 2, 0).numpy(), atol=3e-3)


def test_contrast_is_torchvisions_about_the_same_grey():
    picture = torch.from_numpy(IMAGE).permute(2, 0, 1).float() / 255
    pivot = float(v2.rgb_to_grayscale(picture).mean())
    out = drawn("contrast(by=1.5..1.5)", mean=(pivot,) * 3) + pivot
    expected = v2.adjust_contrast(picture, 1.5).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(out, expected, atol=3e-3)


def test_grey_is_pillows():
    expected = np.asarray(Image.fromarray(IMAGE).convert("L"), dtype=float)
    np.testing.assert_allclose(255 * drawn("grey"), expected[..., None].repeat(3, -1), atol=0.6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("equalize", lambda image: ImageOps.equalize(image)),
        ("autocontrast", lambda image: ImageOps.autocontrast(image)),
        ("solarize(level=100)", lambda image: ImageOps.solarize(image, 100)),
        ("posterize(bits=3)", lambda image: ImageOps.posterize(image, 3)),
    ],
)
def test_tables_are_pillows(text, expected):
    for image in (IMAGE, IMAGE // 3 + 40, np.full_like(IMAGE, 7)):
        pillow = np.asarray(expected(Image.fromarray(image)))
        assert (np.round(255 * drawn(text, image)) == pillow).all()


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.9, 4.0])
def test_sharpness_is_pillows(factor):
    pillow = ImageEnhance.Sharpness(Image.fromarray(IMAGE)).enhance(factor)
    out = np.round(255 * drawn(f"sharpness(by={factor}..{factor})"))
    assert np.abs(out - np.asarray(pillow, dtype=float)).max() <= 1
    assert (out != IMAGE).mean() > 0.5


@given(numbers, numbers, st.floats(0.3, 3))
@settings(max_examples=50, deadline=None)
def test_maps_undo_each_other(a, b, c):
    size, eye = (30, 50), np.eye(3)
    for one, other in [
        (geometry.rotate(a, size), geometry.rotate(-a, size)),
        (geometry.shift(a, b), geometry.shift(-a, -b)),
        (geometry.scale(c, 2 * c, size), geometry.scale(1 / c, 0.5 / c, size)),
        (geometry.shear(a, 0.0, size), geometry.shear(-a, 0.0, size)),
        (geometry.flip(50), geometry.flip(50)),
        (geometry.vflip(30), geometry.vflip(30)),
    ]:
        np.testing.assert_allclose(one @ other, eye, atol=1e-9)


@given(numbers, numbers, st.floats(0, 3))
@settings(max_examples=50, deadline=None)
def test_colours_keep_grey_and_compose(a, b, c):
    grey = np.array([0.3, 0.3, 0.3, 1.0])
    np.testing.assert_allclose(colour.hue(a) @ grey, grey[:3], atol=1e-9)
    np.testing.assert_allclose(colour.saturation(c) @ grey, grey[:3], atol=1e-9)
    both = colour.compose(colour.hue(a), colour.hue(b))
    np.testing.assert_allclose(both, colour.hue(a + b), atol=1e-9)


# the border shows only where another operation has moved the image: tests/augment/test_warp.py
@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"border"}))
def test_every_operation_changes_the_image_within_bounds(name):
    changed = 0
    for index in range(8):
        image = IMAGE // 4 * 3 + 30  # levels that leave room at both ends
        out = drawn(f"{name}", image, index=index)
        assert np.isfinite(out).all() and -1e-6 <= out.min() and out.max() <= 1 + 1e-6
        changed += np.abs(out - image / 255).max() > 0.01
    assert changed >= 2


@pytest.mark.parametrize("name", ["rand", "trivial"])
def test_chance_uses_every_operation_evenly(name):
    n = 4000
    call = {"indices": np.arange(n), "sizes": [(32, 32)] * n, "size": (32, 32)}
    plan = Policy.parse(f"{name}").plan(0, 0, **call, **RAW)
    per = n / 12 * (2 if name == "rand" else 1)
    slack = 6 * np.sqrt(per)
    turned = (plan[:, row_of.MATRIX + 1] != 0).sum()
    assert abs(turned - 2 * per) < 2 * slack + 0.2 * per  # rotate and shear
    for column, none in enumerate((0, 256, 8, 0)):
        touched = (plan[:, row_of.TABLE + column] != none).sum()
        of = 2 if column == 0 else 1  # equalize and autocontrast share a column
        assert abs(touched - of * per) < of * (slack + 0.2 * per)
