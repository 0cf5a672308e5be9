"""Draw docs/methods/augmentation-ops.jpg: every operation of a policy on one photograph.

    python benchmarks/gallery.py

The photograph is scikit-learn's flower.jpg, by vultilion (Flickr), CC BY 2.0; cropped.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

from polyak.augment import Policy, render

OUT = Path(__file__).parent.parent / "docs/methods/augmentation-ops.jpg"
CELL, ACROSS, GAP, LETTERS = 132, 6, 10, 16
OPERATIONS = (
    "none", "crop(scale=0.35..0.35)", "centre(fraction=0.6)", "shift(by=-0.2..-0.2)", "flip",
    "vflip", "zoom(by=0.6..0.6)", "stretch(by=1.6..1.6)", "rotate(degrees=20..20)",
    "shear(degrees=15..15)", "perspective(by=0.6)", "lens(k1=0.35..0.35)",
    "lens(k1=-0.25..-0.25)", "fisheye(by=0.9..0.9)", "elastic(by=0.08)",
    "elastic(by=0.12, cells=2)", "border(mode=edge) | zoom(by=0.6..0.6)",
    "border(mode=colour) | rotate(degrees=20..20)", "brightness(by=1.5..1.5)",
    "contrast(by=0.4..0.4)", "saturation(by=2..2)", "hue(degrees=60..60)", "grey",
    "lighting(by=1)", "equalize", "autocontrast", "solarize(level=128..128)",
    "posterize(bits=2..2)", "sharpness(by=3..3)", "sharpness(by=0..0)", "hole(area=0.15)",
    "hole(area=0.15, ratio=1)", "rand", "trivial", "lecture", "strong",
)  # fmt: skip


def drawn(image, text):
    plain = {"mean": (0.45,) * 3, "std": (1.0,) * 3}
    plan = Policy.parse(text).plan(3, 1, [5], [image.shape[:2]], (CELL, CELL), **plain)
    out = np.empty((CELL, CELL, 3), np.float32)
    render(image, plan[0], out)
    return Image.fromarray(np.uint8(np.clip(np.rint(255 * (out + 0.45)), 0, 255)))


def main():
    image = np.ascontiguousarray(load_sample_image("flower.jpg")[60:380, 180:500])
    small, rows = ImageFont.load_default(11), -(-len(OPERATIONS) // ACROSS)
    high = CELL + 34
    page = Image.new("RGB", (GAP + ACROSS * (CELL + GAP), GAP + rows * high), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    for place, text in enumerate(OPERATIONS):
        left, top = GAP + place % ACROSS * (CELL + GAP), GAP + place // ACROSS * high
        page.paste(drawn(image, text), (left, top))
        name, _, parameters = text.partition("(")
        lines = (name, parameters.removesuffix(")"))
        if " | " in text:
            lines = text.split(" | ")
        for k, line in enumerate(lines):
            line = line if len(line) < 26 else line[:24] + ".."
            pen.text((left, top + CELL + 1 + 13 * k), line, (73, 80, 87), small)
    page.save(OUT, quality=72, optimize=True)


if __name__ == "__main__":
    main()
