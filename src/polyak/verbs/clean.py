"""`polyak clean`: labels that are probably wrong, copies, odd, dark, blurred and tiny images."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyak.options import Number, Text, Word, option, parse
from polyak.recipe.recipe import ClassesFrom


@dataclass
class Options:
    """List what may be wrong with some images; no file of yours is touched.

    Example: polyak clean photos
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")]
    """folder or CSV"""
    classes_from: ClassesFrom = "auto"
    """which folder names the class: top, or the leaf that holds the images; auto refuses both"""
    group_by: Text = None
    """images that belong together, by what this regular expression finds in their paths"""
    max_pixels: Word = "64M"
    """of an image; larger ones are left out: 120M, 1G"""
    model: Word = "auto"
    """'auto' or any timm model name"""
    weights: Word = "auto"
    """a .safetensors or .pth file, 'hub' (timm's own) or hub:NAME; auto: those on this machine"""
    size: Number = None
    """side of the network's images, pixels"""
    seed: int = 0
    """of the folds"""
    threads: Number = None
    """compute threads; default all cores"""
    out: Text = None
    """file for the table; default issues.csv here, its page issues.html beside it"""
    language: Literal["en", "ko"] = "en"
    """of the page"""


def run(arguments: list[str]) -> int:
    """Print what was found; write the table and its page."""
    options = parse(Options, arguments, "polyak clean")
    from rich.console import Console

    from polyak import console
    from polyak.clean import write_issues
    from polyak.errors import counted, shown
    from polyak.files import check_writable
    from polyak.jobs.clean import clean
    from polyak.recipe import make
    from polyak.report.cleaned import draw_issues

    file = Path(options.out or "issues.csv")
    check_writable(file.absolute().parent)
    others = ("out", "language")
    recipe = make(**{name: v for name, v in vars(options).items() if name not in others})
    found = console.followed(clean(recipe), Console())
    for kind, count in found.counts().items():
        print(f"{kind}: {counted(count, 'image', ',')}")
    if found.accuracy:  # where a label could be checked at all
        print(f"by a model that is right on {found.accuracy:.1%} of {len(found.data):,} images")
    write_issues(file, found.issues)
    words = ["polyak", "train", options.data, "--exclude", str(file)]
    for name in ("classes_from", "group_by", "max_pixels"):  # how the data is read stays the same
        if (value := getattr(options, name)) != getattr(Options, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    command = shlex.join(words)
    drawn = draw_issues(file.with_suffix(".html"), found, command, options.language)
    print(f"page: {shown(drawn)}\ntable: {shown(file)}\nnext: {shown(command)}")
    return 0
