"""Small images for a page, as data URIs: what went wrong, and what the network saw."""

import base64
import io

import numpy as np
from PIL import Image

from polyak.augment import Policy, render
from polyak.data.images import Images
from polyak.decoding.unreadable import Unreadable

SIDE = 96  # pixels of a tile


def uri(pixels: np.ndarray) -> str:
    """Write an image, uint8 (H, W, 3), as the data URI of a small JPEG.

    >>> uri(np.zeros((4, 4, 3), np.uint8))[:23]
    'data:image/jpeg;base64,'
    """
    image = Image.fromarray(pixels)
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE))
    elif max(image.size) < SIDE // 2:  # pixels of small images stay squares
        times = SIDE // max(image.size)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    page = io.BytesIO()
    image.save(page, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(page.getvalue()).decode()


def thumbnails(images: Images) -> list[str]:
    """Shrink opened images; "" where one cannot be read any more.

    >>> [text[:10] for text in thumbnails(Images.of(np.zeros((1, 4, 4, 3), np.uint8)))]
    ['data:image']
    """
    bad, found = dict(images.failed), []
    for position in range(len(images)):
        try:
            found.append("" if position in bad else uri(images[position]))
        except (Unreadable, OSError):
            found.append("")
    return found


def seen(
    images: Images,
    positions: list[int],
    policy: str,
    size: tuple[int, int],
    seed: int,
) -> list[tuple[str, str]]:
    """Draw training images as they are and as the network saw them in its first epoch.

    Args:
        images: opened images.
        positions: of these in the training part; what is drawn depends on them.
        policy: the augmentation, as its text.
        size: (height, width) of the network's images.
        seed: of the run.
    """
    good = images.good
    found = []
    plan = Policy.parse(policy).plan(
        seed, 0, np.asarray(positions)[good], images.sizes[good], size, (0.0,) * 3, (1.0,) * 3
    )
    for row, position in enumerate(good):
        out = np.empty((*size, 3), np.float32)
        pixels = images[int(position)]
        render(pixels, plan[row], out)
        found.append((uri(pixels), uri((out.clip(0, 1) * 255).round().astype(np.uint8))))
    return found
