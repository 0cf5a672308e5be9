"""Matrices draw what the compiled loops draw, for every view and images of every shape."""

import numpy as np
import pytest
import torch

from polyak.augment import Policy
from polyak.augment.render import render
from polyak.augment.views import VIEWS, policies
from polyak.errors import UsageError
from polyak.export.prepare import Prepare
from polyak.networks.preprocessing import Preprocessing

SHAPES = [(16, 24), (37, 53), (7, 100), (200, 31), (1, 1), (2, 5), (480, 640)]
VIEWS_AND_FRACTIONS = [(name, fraction) for name in VIEWS for fraction in (1.0, 0.875, 0.31)]


@pytest.mark.parametrize(("views", "fraction"), VIEWS_AND_FRACTIONS)
def test_a_view_is_drawn_as_the_loops_draw_it(views, fraction):
    page = Preprocessing((16, 24), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), fraction)
    for policy in policies(views, fraction):
        prepare = Prepare(page, policy)
        for shape in SHAPES:
            image = np.random.default_rng(shape).integers(0, 256, (*shape, 3), dtype=np.uint8)
            row = policy.plan(0, 0, [0], [shape], page.size, page.mean, page.std)[0]
            want = np.empty((*page.size, 3), np.float32)
            render(image, row, want)
            drawn = prepare(torch.from_numpy(image)[None])[0].permute(1, 2, 0).numpy()
            # a hundredth of a level of 255, over a spread of 0.2
            assert np.abs(drawn - want).max() < 0.01 / 255 / 0.2, (str(policy), shape)


def test_an_image_of_the_networks_size_stays_as_it_is():
    page = Preprocessing((8, 8), (0.0,) * 3, (1.0,) * 3, 1.0)
    image = torch.arange(192, dtype=torch.uint8).reshape(1, 8, 8, 3)
    drawn = Prepare(page, Policy.centre(1.0))(image)
    assert torch.equal(drawn, image.permute(0, 3, 1, 2) * (1 / torch.tensor(255.0)))


@pytest.mark.parametrize("text", ["rotate(degrees=5..5)", "centre | border(mode=edge)", "lecture"])
def test_what_is_no_crop_or_flip_is_refused(text):
    page = Preprocessing((8, 8), (0.0,) * 3, (1.0,) * 3, 1.0)
    with pytest.raises(UsageError, match="only crop, resize, flip and shift"):
        Prepare(page, Policy.parse(text))
