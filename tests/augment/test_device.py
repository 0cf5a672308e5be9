"""Torch's drawing of a plan against the kernels'."""

import numpy as np
import pytest
import torch

from polyak.augment import Policy, render_batch
from polyak.augment.device import render_tensor
from polyak.errors import UsageError

RAW = {"mean": (0.5, 0.5, 0.5), "std": (1 / 255,) * 3}


def smooth(n, height, width):
    y, x = np.mgrid[:height, :width] / 9.0
    waves = [np.stack([np.sin(x + c + i) * np.cos(y - c) for c in range(3)], -1) for i in range(n)]
    return np.uint8(127.5 + 120 * np.stack(waves))


@pytest.mark.parametrize("size", [(40, 40), (20, 16)])
@pytest.mark.parametrize("extra", ["", " | border(mode=edge)", " | border(mode=colour)"])
@pytest.mark.parametrize("name", ["light", "lecture", "strong", "rotate(degrees=30) | fisheye"])
def test_both_ways_agree(name, extra, size):
    images = smooth(12, 40, 40)
    text = str(Policy.parse(name)) + extra
    plan = Policy.parse(text).plan(0, 0, np.arange(12), [(40, 40)] * 12, size, **RAW)
    expected = np.empty((12, *size, 3), np.float32)
    render_batch(images, plan, expected)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    out = render_tensor(tensor, plan, size).permute(0, 2, 3, 1).numpy()
    # an upright shrink is one triangle there, blocks and a triangle here
    assert np.abs(out - expected).mean() < (0.3 if size == (40, 40) else 4.0)


def ramps(n, height, width):
    """Levels that rise by 5 a pixel: a half pixel is 2.5 levels, and no filter bends a ramp."""
    y, x = np.mgrid[:height, :width]
    return np.uint8(np.stack([np.stack([20 + 5 * x, 20 + 5 * y, 225 - 2.5 * (x + y)], -1)] * n))


@pytest.mark.parametrize("size", [(40, 40), (20, 16), (13, 17), (60, 70)])
@pytest.mark.parametrize(
    "text",
    [
        *("centre(fraction=1)", "centre(fraction=0.875)", "flip", "rotate(degrees=30)", "fisheye"),
        *("shift(by=0.1)", "zoom(by=0.7..1.3)", "shear(degrees=10)", "perspective(by=0.3)"),
        *("lens(k1=0.2..0.2)", "elastic(by=0.03)", "crop(scale=0.3..0.8)"),
    ],
)
def test_no_pixel_is_off_by_a_tenth(text, size):
    images = ramps(12, 40, 40)
    plan = Policy.parse(text).plan(0, 0, np.arange(12), [(40, 40)] * 12, size, **RAW)
    expected = np.empty((12, *size, 3), np.float32)
    render_batch(images, plan, expected)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    out = render_tensor(tensor, plan, size).permute(0, 2, 3, 1).numpy()
    away = (slice(None), *(slice(n // 4, -(n // 4)) for n in size))  # from borders, which fold
    assert np.ptp(expected[away]) > 40
    assert np.abs(out - expected)[away].max() < 0.5


def test_tables_are_refused():
    plan = Policy.parse("equalize").plan(0, 0, [0], [(4, 4)], (4, 4), **RAW)
    with pytest.raises(UsageError, match="cannot render on a device"):
        render_tensor(torch.zeros((1, 3, 4, 4), dtype=torch.uint8), plan, (4, 4))
