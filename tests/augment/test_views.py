"""Views are fixed, distinct, and the ones that the literature means."""

import numpy as np
import pytest

from polyak.augment import render, views
from polyak.errors import UsageError

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def looks(name, image=IMAGE, size=(32, 32), fraction=1.0):
    results = []
    for plan in views(name, [image.shape[:2]], size, **RAW, fraction=fraction):
        out = np.empty((*size, 3), np.float32)
        render(image, plan[0], out)
        results.append(out)
    return results


def test_flip_is_the_image_and_its_mirror():
    plain, mirrored = looks("flip")
    assert (plain == IMAGE).all() and (mirrored == IMAGE[:, ::-1]).all()


def test_flip_and_shift_moves_by_one_pixel_and_reflects():
    padded = np.pad(IMAGE, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
    moved = [IMAGE, padded[2:, 2:], padded[:-2, :-2]]
    expected = [view for one in moved for view in (one, one[:, ::-1])]
    found = looks("flip+shift")
    assert len(found) == 6
    for one in expected:
        assert sum((one == view).all() for view in found) == 1


def test_ten_crops_are_torchvisions():
    v2 = pytest.importorskip("torchvision.transforms.v2.functional")
    import torch

    image = torch.from_numpy(IMAGE).permute(2, 0, 1)
    expected = [crop.permute(1, 2, 0).numpy() for crop in v2.ten_crop(image, [24, 24])]
    found = looks("ten", size=(24, 24), fraction=0.75)
    assert len(found) == 10
    for one in expected:
        assert sum(np.abs(one - view).max() < 1e-3 for view in found) == 1


def test_scales_show_different_parts():
    assert len({view.tobytes() for view in looks("scales", fraction=0.875)}) == 8


def test_unknown_views_are_refused():
    with pytest.raises(UsageError, match="no such views: many"):
        looks("many")
