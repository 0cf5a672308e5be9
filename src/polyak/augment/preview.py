"""A sheet of images beside what the network sees of them, each with its parameters."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from polyak.augment.describe import describe
from polyak.augment.policy import Policy
from polyak.augment.render import render

CELL = 192  # pixels: smaller results are enlarged to about this, without smoothing
GAP, LINE, LETTER = 14, 15, 6.2  # pixels: between cells, of a caption's line, of a letter
INK, SOFT, PAPER = (33, 37, 41), (108, 117, 125), (255, 255, 255)
_PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}
_MEAN = (0.485, 0.456, 0.406)  # ImageNet's: what contrast turns about, what a hole is filled with


def sheet(
    images: Sequence[np.ndarray],
    names: Sequence[str],
    policy: Policy,
    size: tuple[int, int],
    epochs: int = 4,
    seed: int = 0,
) -> Image.Image:
    """Draw a row an image: the original, then what the first epochs draw.

    Args:
        images: uint8 (H, W, 3) each.
        names: a caption for each original.
        policy: what to draw.
        size: (height, width) of what the network sees, pixels.
        epochs: how many.
        seed: of the policy.

    Returns:
        RGB image; the same for the same arguments.

    >>> sheet([np.zeros((40, 60, 3), np.uint8)], ["dark"], Policy.named("light"), (32, 32)).size
    (1044, 337)
    """
    times = max(1, round(CELL / max(size)))
    cell = size[0] * times, size[1] * times
    rows = []
    for index, (pixels, name) in enumerate(zip(images, names, strict=True)):
        cells = [(_fitted(pixels, cell), [name, f"{pixels.shape[1]} x {pixels.shape[0]}"])]
        for epoch in range(epochs):
            drawn, words = _drawn(pixels, policy, size, (seed, epoch, index))
            enlarged = drawn.resize((cell[1], cell[0]), Image.Resampling.NEAREST)
            cells.append((enlarged, _lines(words, cell[1])))
        rows.append(cells)
    return _laid_out(rows, cell, str(policy))


def _drawn(pixels, policy, size, counters):
    seed, epoch, index = counters
    call = {"size": size, "mean": _MEAN, "std": (1.0, 1.0, 1.0)}
    plan = policy.plan(seed, epoch, [index], [pixels.shape[:2]], **call)
    out = np.empty((*size, 3), np.float32)
    render(pixels, plan[0], out)
    levels = np.clip(np.rint(255.0 * (out + np.array(_MEAN))), 0, 255).astype(np.uint8)
    return Image.fromarray(levels), describe(plan[0], **call) or ["as it is"]


def _lines(words, width):
    whole = ", ".join(word.replace(" ", "_") for word in words)  # a word stays on its line
    lines = textwrap.wrap(whole, int(width / LETTER), break_on_hyphens=False)
    return [line.replace("_", " ") for line in lines]


def _fitted(pixels, cell):
    """The whole image, as large as the cell takes, on paper."""
    whole, image = Image.new("RGB", (cell[1], cell[0]), PAPER), Image.fromarray(pixels)
    factor = min(cell[0] / image.height, cell[1] / image.width)
    shape = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    smooth = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST
    image = image.resize(shape, smooth)
    whole.paste(image, ((cell[1] - image.width) // 2, (cell[0] - image.height) // 2))
    return whole


def _laid_out(rows, cell, title):
    across, small, large = len(rows[0]), ImageFont.load_default(12), ImageFont.load_default(15)
    width = GAP + across * (cell[1] + GAP)
    head = textwrap.wrap(title, int(width / LETTER) - 4, break_on_hyphens=False)
    deep = [max(len(words) for _, words in cells) for cells in rows]
    top = GAP + 24 + LINE * len(head) + GAP
    height = top + sum(cell[0] + 4 + LINE * lines + GAP for lines in deep)
    canvas = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, GAP), "the image", INK, large)
    pen.text((2 * GAP + cell[1], GAP), "what the network sees, epoch after epoch", INK, large)
    for k, line in enumerate(head):
        pen.text((GAP, GAP + 24 + LINE * k), line, SOFT, small)
    for cells, lines in zip(rows, deep, strict=True):
        for column, (image, words) in enumerate(cells):
            left = GAP + column * (cell[1] + GAP)
            canvas.paste(image, (left, top))
            for k, line in enumerate(words):
                pen.text((left, top + cell[0] + 4 + LINE * k), line, SOFT, small)
        top += cell[0] + 4 + LINE * lines + GAP
    return canvas
