"""What tests may ask for: small images that can be learnt, the real ones if at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyak import cli
from polyak.recipe import make
from typed import FAST


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Four classes of 24 noisy 32-pixel JPEG images: a red, green, blue or white square."""
    folder = tmp_path_factory.mktemp("tiny")
    for label, colour in enumerate([(250, 40, 40), (40, 250, 40), (40, 40, 250), (250, 250, 250)]):
        (folder / f"square {label}").mkdir()
        for number in range(24):
            noise = np.random.default_rng([label, number])
            image = noise.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            top, left = noise.integers(0, 16, 2)
            image[top : top + 16, left : left + 16] = colour
            Image.fromarray(image).save(folder / f"square {label}" / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights, or a skip that says how to get it."""
    folder = Path(os.environ.get("POLYAK_DATA", Path.home() / ".cache/polyak-data"))
    if not folder.is_dir():
        pytest.skip("no real data: set POLYAK_DATA to a folder with cifar10, hymenoptera, weights")
    return folder


@pytest.fixture
def train(tmp_path, capsys):
    """Type `polyak train DATA ...` with small choices; give (exit code, stdout, the error line)."""

    def typed(data, *more):
        out = () if "--out" in more else ("--out", str(tmp_path / "runs"))
        code = cli.main(["train", str(data), *FAST, *out, *more])
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        return code, said.out, said.err.strip()

    return typed


@pytest.fixture
def job(tiny_folder, tmp_path):
    """Recipe of a run of 12 steps with batch norm and an average, saved after every step."""

    def recipe(**choices):
        return make(**{
            "data": str(tiny_folder), "model": "compact", "widths": (8, 8), "epochs": 4,
            "batch_size": 16, "size": 16, "threads": 1, "save_every": 0, "average": 0.2,
            "precision": "float32",
            "val": 0.25, "out": str(tmp_path / "runs"), "name": "job", **choices,
        })  # fmt: skip

    return recipe
