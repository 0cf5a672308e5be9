"""`polyak evaluate`: how good a model is on labelled images."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from polyak.errors import counted, shown
from polyak.options import Real, Split, Text, Word, option, parse, pixels
from polyak.recipe.recipe import ClassesFrom
from polyak.verbs.predict import check_sets

if TYPE_CHECKING:
    from polyak.metrics import Coverage, Evaluation
    from polyak.recipe.recipe import Recipe

WORST = 10  # classes whose coverage is printed


@dataclass
class Options:
    """Measure a model on labelled images that it was not trained on: accuracy, NLL, calibration
    error, with intervals.

    Example: polyak evaluate runs/digits digits --json
    """

    model: Annotated[str, tyro.conf.Positional, option("MODEL")]
    """run directory or model file"""
    data: Annotated[str, tyro.conf.Positional, option("DATA")]
    """folder, CSV or 'digits'"""
    split: Split = None
    """a part of the data, as the run split it, else as the data does; default test where the data
    has it, else all, without what the run was trained on"""
    classes_from: Annotated[ClassesFrom | None, option("{auto,leaf,top}")] = None
    """which folder names the class: top, or the leaf that holds the images; default as trained"""
    label_separator: Text = None
    """between labels in a table's column labels; default as trained"""
    max_pixels: Text = None
    """of an image; larger ones are left out: 120M, 1G; default as trained"""
    views: Text = None
    """test-time views: one, flip, flip+shift, ten, scales; default as trained"""
    kind: Text = None
    """which weights of the file: average, weights, soup, snapshot, members; default as chosen"""
    sets: Real = None
    """measure prediction sets too: 0.95 holds the true class of 95 % of such images"""
    json: bool = False
    """print JSON"""
    device: Word = "cpu"
    """cpu, cuda or mps"""


def run(arguments: list[str]) -> int:
    """Print how good a model is on labelled images."""
    options = parse(Options, arguments, "polyak evaluate")
    from polyak.model import load
    from polyak.model.held_out import LabelledData

    chosen = {"views": options.views} if options.views else {}
    model = load(options.model, device=options.device, kind=options.kind)
    config = trained_with(Path(options.model))
    asked = LabelledData(
        options.data,
        options.split,
        options.classes_from or config.classes_from,
        options.label_separator or config.label_separator,
    )
    model.pixel_cap = pixels(options.max_pixels, options.model)
    check_sets(options.sets, options.kind, options.views)
    found = model.evaluate(asked, sets=options.sets, device=options.device, **chosen)
    if options.json:
        print(json.dumps(found.as_json()))
    else:
        print(found.images.line())
        for note in found.notes:
            print(f"note: {shown(note)}")
        for line in figures(found):
            print(line)
        if found.coverage is not None:
            for line in covered(found.coverage):
                print(line)
    return 0


def figures(found: "Evaluation") -> list[str]:
    """Write what was measured, a figure a line."""
    images = f"95 % interval, {counted(found.n, 'image')}"
    if found.map is not None:
        lines = [f"map      {found.map}, {images}", f"f1       {found.f1}, macro"]
        lines += [f"micro f1 {found.micro_f1}", f"exact    {found.accuracy}, every label right"]
    else:
        lines = [f"accuracy {found.accuracy}, {images}"]
        if found.balanced is not None and found.f1 is not None:
            lines += [f"balanced {found.balanced}", f"f1       {found.f1}, macro"]
    return [*lines, f"nll      {found.nll}", f"ece      {found.ece}"]


def covered(found: "Coverage") -> list[str]:
    """Say how often sets held the true class, all images together and the worst classes."""
    lines = [
        f"sets     {found.covered}, asked for {found.asked:g}; {found.size:.2f} classes a set",
    ]
    worst = sorted(found.by_class.items(), key=lambda item: item[1].covered)[:WORST]
    for name, one in worst:
        images = counted(one.n, "image")
        lines.append(f"  {shown(name)}: {one.covered:.1%} of {images}, {one.size:.2f} classes")
    return lines


def trained_with(model: Path) -> "Recipe":
    """Say how labels were read when a run was trained; as usual for a lone model file.

    >>> trained_with(Path("model.safetensors")).classes_from
    'auto'
    """
    from polyak.errors import UsageError
    from polyak.files import read_yaml
    from polyak.recipe import recipe as recipes

    try:
        config = read_yaml(model / "config.yaml")
        names = ("classes_from", "label_separator")
        return recipes.make(**{name: config[name] for name in names if name in config})
    except UsageError:  # no run, or its page is damaged; the model is not
        return recipes.make()
