"""`polyak plan`: which way of transfer learning pays on some images, measured."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from polyak.options import Number, Text, Word, option, parse
from polyak.recipe.recipe import ClassesFrom

Colours = Annotated[tuple[float, float, float] | None, option("FLOAT FLOAT FLOAT")]


@dataclass
class Options:
    """Probe every stage of a pretrained network, try fine-tuning within a budget, and choose.

    Example: polyak plan photos --budget 5m
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")]
    """folder, CSV or 'digits'"""
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
    mean: Colours = None
    """colours' mean in [0, 1] that the weights want"""
    std: Colours = None
    """colours' spread in [0, 1] that the weights want"""
    budget: Word = "5m"
    """wall clock for all: 90s, 10m, 2h"""
    size: Number = None
    """side of the network's images, pixels"""
    val: float = 0.1
    """share of train held out when no val exists"""
    batch_size: Number = None
    """images a step"""
    seed: int = 0
    """of the split and all that is drawn"""
    device: Word = "auto"
    """auto, cpu, cuda, mps"""
    threads: Number = None
    """compute threads; default all cores"""
    out: Text = None
    """file for the plan; default plan.json here, its page plan.html beside it"""


def run(arguments: list[str]) -> int:
    """Print what was measured, the choice, and the command that carries it out."""
    began = time.monotonic()
    options = parse(Options, arguments, "polyak plan")
    from rich.console import Console

    from polyak import console
    from polyak.errors import shown
    from polyak.files import write_atomic
    from polyak.jobs.plan import plan
    from polyak.recipe import make
    from polyak.report import draw_plan

    file = Path(options.out or "plan.json")
    chosen = {name: value for name, value in vars(options).items() if name != "out"}
    result = console.follow_plan(plan(make(**chosen), began), Console())
    write_atomic(file, json.dumps(result.as_json(), indent=1))
    print(f"page: {shown(draw_plan(file))}\nfigures: {shown(file)}")
    return 0
