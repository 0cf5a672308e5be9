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


def test_tables_are_refused():
    plan = Policy.parse("equalize").plan(0, 0, [0], [(4, 4)], (4, 4), **RAW)
    with pytest.raises(UsageError, match="cannot render on a device"):
        render_tensor(torch.zeros((1, 3, 4, 4), dtype=torch.uint8), plan, (4, 4))
