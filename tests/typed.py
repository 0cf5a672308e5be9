"""What tests of the command line type, and how they read its one line."""

import numpy as np
from PIL import Image

FAST = (
    *("--model", "compact", "--widths", "8", "8", "--size", "16", "--epochs", "1"),
    *("--threads", "1", "--batch-size", "16", "--val", "0.25"),
)


def one_line(text: str) -> str:
    assert text.startswith("polyak: ")
    assert len(text.splitlines()) == 1
    return text


def image(seed: int = 0, size=(20, 24)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))
