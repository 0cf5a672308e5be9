"""What every test may ask for: one thread, real pictures where they are, a folder to learn."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from polyak import keys

# torch reads these when a test imports it, and child processes inherit them
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHAPES = {
    "bar": (200, 60, 40),
    "disc": (60, 190, 60),
    "frame": (50, 80, 210),
    "wedge": (220, 200, 30),
}


@pytest.fixture(autouse=True)
def _as_before():
    """Undo what `machine.prepare` sets for a whole process; hypothesis refuses flushed numbers."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Where the real picture sets lie: $POLYAK_DATA, else ~/.cache/polyak-data."""
    folder = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache" / "polyak-data")
    if not folder.is_dir():
        pytest.skip(f"no real pictures: {folder} is missing; set POLYAK_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Four classes of 24 JPEG pictures, 32 x 32: coloured shapes in noise, soon learnt."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    for number, name in enumerate(SHAPES):
        (root / name).mkdir(parents=True)
        for index in range(24):
            picture(name, number, index).save(root / name / f"{name}{index}.jpg", quality=90)
    return root


def picture(shape: str, number: int, index: int) -> Image.Image:
    """Draw a shape; its place, shade and noise are functions of (number, index)."""
    noise = keys.uniform("tests/noise", number, index, np.arange(32 * 32 * 3))
    canvas = Image.fromarray((60 + 80 * noise).astype(np.uint8).reshape(32, 32, 3))
    left, top, shade = keys.uniform("tests/place", number, index, np.arange(3)) * (10, 10, 40)
    colour = tuple(int(c + shade - 20) for c in SHAPES[shape])
    box = (left + 2, top + 2, left + 20, top + 20)
    draw = ImageDraw.Draw(canvas)
    if shape == "bar":
        draw.rectangle((left + 2, top + 8, left + 20, top + 14), fill=colour)
    elif shape == "disc":
        draw.ellipse(box, fill=colour)
    elif shape == "frame":
        draw.rectangle(box, outline=colour, width=4)
    else:
        draw.polygon(((box[0], box[3]), (box[2], box[3]), (left + 11, box[1])), fill=colour)
    return canvas
