"""Images to test decoders with: what JPEG is made for, in any format."""

import io

import numpy as np
from PIL import Image

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]


def scene(height, width, seed=0):
    """A smooth image with edges and noise: what JPEG is made for, and what shows its mistakes."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack(
        [x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), (x + y) % 64 * 4], -1
    )
    base[height // 3 : height // 2, width // 4 : width // 2] = draw.integers(0, 256, 3)
    return np.clip(base + draw.normal(0, 6, base.shape), 0, 255).astype(np.uint8)


def encoded(pixels, kind, **options):
    """The file that Pillow makes of pixels or an image: bytes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()
