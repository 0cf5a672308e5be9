"""Dark, blurred and tiny images are told from ordinary ones."""

import numpy as np
from PIL import Image, ImageFilter

from polyak.clean.quality import dark, measure, soft, tiny
from polyak.data.images import Images


def photographs(n=60, seed=0):
    """Noise at several scales, as sharp as photographs are."""
    random, found = np.random.default_rng(seed), []
    for _ in range(n):
        small = Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8))
        large = np.asarray(small.resize((96, 96), Image.Resampling.BICUBIC), float)
        found.append((large * 0.7 + random.integers(0, 76, (96, 96, 3))).astype(np.uint8))
    return found


def test_each_fault_is_found_alone():
    images = photographs()
    images[5] = (images[5] * 0.05).astype(np.uint8)
    images[9] = np.asarray(Image.fromarray(images[9]).filter(ImageFilter.GaussianBlur(6)))
    images[20] = images[20][:12, :12]
    found = measure(Images.of(images), 2)
    assert dark(found)[0].tolist() == [5]
    assert 9 in soft(found)[0] and set(soft(found)[0]) <= {5, 9}
    assert tiny(found)[0].tolist() == [20]
    for look in (dark, soft, tiny):
        assert ((look(found)[1] >= 0) & (look(found)[1] <= 1)).all()


def test_ordinary_images_have_no_fault():
    found = measure(Images.of(photographs(seed=3)))
    assert [len(look(found)[0]) for look in (dark, soft, tiny)] == [0, 0, 0]


def test_images_of_one_colour_are_measured():
    found = measure(Images.of(np.zeros((3, 2, 2, 3), np.uint8)))
    assert dark(found)[0].tolist() == [0, 1, 2] and len(soft(found)[0]) == 0
