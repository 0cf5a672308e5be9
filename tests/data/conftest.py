import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _scene(height, width, seed=0):
    """A smooth picture with edges and noise: what JPEG is made for, and what shows its mistakes."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack(
        [x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), (x + y) % 64 * 4], -1
    )
    base[height // 3 : height // 2, width // 4 : width // 2] = draw.integers(0, 256, 3)
    return np.clip(base + draw.normal(0, 6, base.shape), 0, 255).astype(np.uint8)


def _encoded(pixels, kind, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


@pytest.fixture
def scene():
    return _scene


@pytest.fixture
def encoded():
    return _encoded


@pytest.fixture
def tree(tmp_path):
    """Write {"cat/1.jpg": bytes or (height, width, seed)} below a folder of its own."""

    def write(files, root="data"):
        for name, content in files.items():
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, tuple):
                content = _encoded(_scene(*content), "JPEG")
            path.write_bytes(content)
        return tmp_path / root

    return write


@pytest.fixture
def photographs():
    """Real photographs of several sizes: paths."""
    folder = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache" / "polyak-data")
    found = sorted((folder / "hymenoptera").rglob("*.jpg"))
    if not found:
        pytest.skip(f"no photographs in {folder}/hymenoptera (set POLYAK_DATA)")
    return found
