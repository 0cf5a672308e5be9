"""A job small enough to run many times."""

import pytest

from polyak.train import make


@pytest.fixture
def job(tiny_folder, tmp_path):
    """Recipe of a run of 12 steps with batch norm and an average, saved after every step."""

    def recipe(**choices):
        return make(**{
            "data": str(tiny_folder), "model": "compact", "widths": (8, 8), "epochs": 4,
            "batch_size": 16, "size": 16, "threads": 1, "save_every": 0, "average": 0.2,
            "val": 0.25, "out": str(tmp_path / "runs"), "name": "job", **choices,
        })  # fmt: skip

    return recipe
