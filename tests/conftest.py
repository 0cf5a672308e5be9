"""What every test stands on: one thread, small pictures that can be learnt, the real ones if at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Four classes of 24 noisy 32-pixel JPEG pictures: a bright square in one of the corners."""
    folder = tmp_path_factory.mktemp("tiny")
    for label, (top, left) in enumerate([(2, 2), (2, 18), (18, 2), (18, 18)]):
        (folder / f"corner {label}").mkdir()
        for number in range(24):
            noise = np.random.default_rng([label, number])
            picture = noise.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            colour = noise.integers(150, 256, 3, dtype=np.uint8)
            picture[top : top + 12, left : left + 12] = colour
            Image.fromarray(picture).save(folder / f"corner {label}" / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures and weights, or a skip that says how to get it."""
    folder = Path(os.environ.get("POLYAK_DATA", Path.home() / ".cache/polyak-data"))
    if not folder.is_dir():
        pytest.skip("no real data: set POLYAK_DATA to a folder with cifar10, hymenoptera, weights")
    return folder
