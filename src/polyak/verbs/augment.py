"""`polyak augment`: what a policy makes of your pictures, before anything is trained."""

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from polyak.errors import DataError, UsageError, counted, shown
from polyak.options import Word, option, parse, pixels
from polyak.recipe.recipe import ClassesFrom


@dataclass
class Options:
    """Show pictures beside what the network sees of them: a sheet with every cell's parameters.

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
    """side of the network's pictures, pixels; default 224, or the pictures' own if smaller"""
    pictures: int = 6
    """how many pictures, chosen by the seed"""
    looks: int = 4
    """how many epochs"""
    seed: int = 0
    """of the choice and of the policy"""


FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def run(arguments: list[str]) -> int:
    """Write the sheet."""
    options = parse(Options, arguments, "polyak augment")
    _check(options)
    from polyak.augment import Policy
    from polyak.augment.preview import sheet
    from polyak.data import find, scan
    from polyak.files import write_atomic

    policy = Policy.parse(options.policy)
    found = find(options.data, options.classes_from)
    dataset = scan(found, pixel_cap=pixels(options.max_pixels))
    pictures, names = chosen(dataset, options.pictures, options.seed)
    side = int(sorted(min(picture.shape[:2]) for picture in pictures)[len(pictures) // 2])
    size = options.size or max(8, min(224, side))
    page = sheet(pictures, names, policy, (size, size), options.looks, options.seed)
    content = io.BytesIO()
    page.save(content, FORMATS[options.out.suffix.lower()])
    write_atomic(options.out, content.getvalue())
    what = f"{counted(len(pictures), 'image')}, {counted(options.looks, 'look')} each"
    print(f"{what}: {shown(options.out)}")
    return 0


def chosen(dataset, most: int, seed: int):
    """Decode some pictures, chosen by the seed; those that cannot be read are passed over.

    Raises:
        DataError: none can be read.
    """
    from polyak import keys
    from polyak.data.images import Images
    from polyak.decoding.unreadable import Unreadable

    order = keys.permutation("preview", seed, 0, len(dataset))[: 2 * most]
    images = Images.open(dataset.take(order), budget=0, least=(448, 448))
    found, names = [], []
    for k in images.good:
        with suppress(Unreadable):
            found.append(images[k])
            names.append(shown(dataset.classes[dataset.labels[order[k]]])[:28])
        if len(found) == most:
            break
    if not found:
        raise DataError("no image can be read", where=str(dataset.root))
    return found, names


def _check(options: Options) -> None:
    for name, low, high in (("pictures", 1, 100), ("looks", 1, 20), ("size", 0, 1024)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"impossible --{name}", where=str(value), why=f"{low} to {high}")
    if 0 < options.size < 8:
        raise UsageError("impossible --size", where=str(options.size), why="8 to 1024")
    if options.out.suffix.lower() not in FORMATS:
        why = f"write to {', '.join(FORMATS)}"
        raise UsageError("unknown kind of picture", where=shown(str(options.out)), why=why)
