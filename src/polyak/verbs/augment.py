"""`polyak augment`: what a policy makes of your images, before anything is trained."""

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from polyak.errors import DataError, UsageError, counted, shown
from polyak.options import Word, option, parse, pixels, renamed
from polyak.recipe.recipe import ClassesFrom

if TYPE_CHECKING:
    import numpy as np

    from polyak.data.dataset import Dataset


@dataclass
class Options:
    """Show images beside what the network sees of them: a sheet with every cell's parameters.

    Example: polyak augment photos --policy lecture --out preview.png
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")]
    """folder, CSV or 'digits'"""
    classes_from: ClassesFrom = "auto"
    """which folder names the class: top, or the leaf that holds the images; auto refuses both"""
    max_pixels: Word = "64M"
    """of an image; larger ones are left out: 120M, 1G"""
    policy: Annotated[str, option("TEXT")] = "light"
    """none, light, lecture, strong, rand, trivial, or a policy written out"""
    out: Annotated[Path, option("FILE")] = Path("preview.png")
    """the sheet: .png, .jpg or .webp"""
    size: int = 0
    """side of what the network sees, pixels; default 224, or the images' own if smaller"""
    images: int = 6
    """how many images, chosen by the seed"""
    epochs: int = 4
    """how many times each is augmented"""
    seed: int = 0
    """of the choice and of the policy"""


RENAMED = {"pictures": "images", "looks": "epochs"}  # what options were called in 0.1
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def run(arguments: list[str]) -> int:
    """Write the sheet."""
    options = parse(Options, renamed(arguments, RENAMED), "polyak augment")
    _check(options)
    from polyak.augment import Policy
    from polyak.augment.preview import sheet
    from polyak.data import find, scan
    from polyak.files import write_atomic

    policy = Policy.parse(options.policy)
    found = find(options.data, options.classes_from)
    dataset = scan(found, pixel_cap=pixels(options.max_pixels))
    images, names = chosen(dataset, options.images, options.seed)
    side = int(sorted(min(image.shape[:2]) for image in images)[len(images) // 2])
    size = options.size or max(8, min(224, side))
    drawn = sheet(images, names, policy, (size, size), options.epochs, options.seed)
    content = io.BytesIO()
    drawn.save(content, FORMATS[options.out.suffix.lower()])
    write_atomic(options.out, content.getvalue())
    what = f"{counted(len(images), 'image')}, {counted(options.epochs, 'epoch')} each"
    print(f"{what}: {shown(options.out)}")
    return 0


def chosen(dataset: "Dataset", most: int, seed: int) -> "tuple[list[np.ndarray], list[str]]":
    """Decode some images, chosen by the seed; those that cannot be read are passed over.

    Raises:
        DataError: none can be read.
    """
    from polyak import keys
    from polyak.data.images import Images
    from polyak.decoding.unreadable import Unreadable

    order = keys.permutation("preview", seed, 0, len(dataset))[: 2 * most]
    images = Images.open(dataset.take(order), budget=0, min_size=(448, 448))
    found, names = [], []
    for k in images.good:
        with suppress(Unreadable):
            found.append(images[k])
            names.append(shown(", ".join(dataset.names(int(order[k]))))[:28])
        if len(found) == most:
            break
    if not found:
        raise DataError("no image can be read", where=str(dataset.root))
    return found, names


def _check(options: Options) -> None:
    for name, low, high in (("images", 1, 100), ("epochs", 1, 20), ("size", 0, 1024)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"impossible --{name}", where=str(value), why=f"{low} to {high}")
    if 0 < options.size < 8:
        raise UsageError("impossible --size", where=str(options.size), why="8 to 1024")
    if options.out.suffix.lower() not in FORMATS:
        why = f"write to {', '.join(FORMATS)}"
        raise UsageError("unknown kind of image", where=shown(str(options.out)), why=why)
